"""What `make attack` prints: every attack and every fault that tests/attack tries, and whether egoworld held.

A test there is one attack or one fault, tried by a client of its own on real servers, daemons and processes. The first
line of its docstring says what was tried, for readers of the table.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

FOLDER = Path(__file__).parent / "attack"
HELD, BROKE, NOT_TRIED = "held", "broke", "not tried"
TRIED = "tried"
"""Under this name a report says which part was attacked and how."""
ROWS = pytest.StashKey[dict[str, tuple[str, str, str]]]()


def pytest_configure(config: pytest.Config) -> None:
    """Note what each attack came to."""
    config.stash[ROWS] = {}
    config.pluginmanager.register(Verdicts(config.stash[ROWS]))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Say in the report of an attack what it tried; the report may go to another process."""
    report: pytest.TestReport = yield  # pyright: ignore[reportAssignmentType]
    if FOLDER in item.path.parents:
        report.user_properties.append((TRIED, [item.path.stem.removeprefix("test_").replace("_", " "), tried(item)]))
    return report


class Verdicts:
    """Collects what the attacks came to: in their set-up, their call or afterwards."""

    def __init__(self, rows: dict[str, tuple[str, str, str]]) -> None:
        self._rows = rows

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One more report of a test."""
        said = dict(report.user_properties).get(TRIED)
        if said and (report.when == "call" or not report.passed):
            part, what = said
            outcome = {"passed": HELD, "failed": BROKE}.get(report.outcome, NOT_TRIED)
            self._rows[report.nodeid] = (part, what, outcome)


def tried(item: pytest.Item) -> str:
    """What an attack tries: the first line of its docstring, and the case where there are several."""
    function = getattr(item, "function", None)
    said = (getattr(function, "__doc__", None) or item.name).strip().splitlines()[0].rstrip(".")
    case = item.name.partition("[")[2].removesuffix("]")
    return f"{said} ({case})" if case else said


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The table: which part, what was tried, and whether it held."""
    rows = sorted(config.stash[ROWS].values())
    if not rows:
        return
    table = Table(title="attacks and faults")
    for column in ("part", "tried", "result"):
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    counts = {name: sum(row[2] == name for row in rows) for name in (HELD, BROKE, NOT_TRIED)}
    terminalreporter.ensure_newline()
    text = StringIO()
    console = Console(width=120, file=text)
    console.print(table)
    console.print(", ".join(f"{count} {name}" for name, count in counts.items()))
    terminalreporter.write(text.getvalue())
