"""What `make attack` prints: every attack and every fault that a test of this folder tries, and whether egoworld held.

A test here is one attack or one fault, tried by a client of its own on real servers, daemons and processes. The first
line of its docstring says what was tried, in the words of whoever reads the table.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from egoworld_resources.production.running import Server
from tests.made_server import server_up
from tests.servers import temporary_home

HELD, BROKE, NOT_TRIED = "held", "broke", "not tried"
VERDICTS = pytest.StashKey[dict[str, tuple[str, str, str]]]()


@pytest.fixture(scope="session")
def attacked_server() -> Iterator[Server]:
    """A whole server, as `make up` starts it, that all attacks share: whoever changes its settings puts them back."""
    with temporary_home() as home, server_up(home) as server:
        yield server


def pytest_configure(config: pytest.Config) -> None:
    """A place for what the attacks came to."""
    config.stash[VERDICTS] = {}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Note what an attack came to: in its set-up, its call or afterwards."""
    report: pytest.TestReport = yield  # pyright: ignore[reportAssignmentType]
    if Path(__file__).parent in item.path.parents:
        verdicts = item.config.stash[VERDICTS]
        if report.when == "call" or not report.passed:
            outcome = {"passed": HELD, "failed": BROKE}.get(report.outcome, NOT_TRIED)
            verdicts[item.nodeid] = (item.path.stem.removeprefix("test_").replace("_", " "), tried(item), outcome)
    return report


def tried(item: pytest.Item) -> str:
    """What an attack tries: the first line of its docstring, and the case where there are several."""
    function = getattr(item, "function", None)
    said = (getattr(function, "__doc__", None) or item.name).strip().splitlines()[0].rstrip(".")
    case = item.name.partition("[")[2].removesuffix("]")
    return f"{said} ({case})" if case else said


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The table: which part, what was tried, and whether it held."""
    verdicts = sorted(config.stash[VERDICTS].values())
    if not verdicts:
        return
    table = Table(title="attacks and faults")
    for column in ("part", "tried", "result"):
        table.add_column(column, overflow="fold")
    for row in verdicts:
        table.add_row(*row)
    counts = {name: sum(row[2] == name for row in verdicts) for name in (HELD, BROKE, NOT_TRIED)}
    terminalreporter.ensure_newline()
    console = Console(width=120, file=terminalreporter._tw._file)
    console.print(table)
    console.print(", ".join(f"{count} {name}" for name, count in counts.items()))
