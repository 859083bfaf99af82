"""The figures as Markdown: all of them, or the rows that README.md beside this file shows."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.accuracy.bounds import bounds
from tests.accuracy.figures import Figure

ROWS = Path(__file__).with_name("table.toml")
BEGIN, END = "<!-- written by make accuracy -->\n", "<!-- up to here -->\n"
HEAD = "| stage | measured on | what | value | bound | published, or measured of a peer |\n|---|---|---|---|---|---|\n"
NONE_PUBLISHED = "none published"


def page_rows() -> list[dict[str, Any]]:
    """What `table.toml` says, in its order."""
    return tomllib.loads(ROWS.read_text(encoding="utf-8"))["row"]


def shown(figure: Figure) -> str:
    """The value, or the smallest and the largest of several, with three digits."""
    if not np.all(np.isfinite(figure.values)):
        return "not measured"
    values = [f"{round(value, 9):.3g}" for value in (min(figure.values), max(figure.values))]
    both = values[0] if values[0] == values[1] else f"{values[0]} – {values[1]}"
    return f"{both} {figure.unit}".strip()


def whole_table(figures: Sequence[Figure]) -> str:
    """Every figure with its bound and what is published beside it."""
    known = {(row["stage"], row["data"], row["what"]): row for row in page_rows()}
    return HEAD + "".join(_line(figure, known.get(figure.key, {}), figures) for figure in figures)


def page_table(figures: Sequence[Figure]) -> str:
    """The rows of the page; raises KeyError for one that was not measured."""
    found = {figure.key: figure for figure in figures}
    return HEAD + "".join(_line(found[row["stage"], row["data"], row["what"]], row, figures) for row in page_rows())


def _line(figure: Figure, row: dict[str, Any], figures: Sequence[Figure]) -> str:
    bound = bounds().get(figure.key)
    what = f"{figure.what} ({row['note']})" if "note" in row else figure.what
    peer = row.get("peer", NONE_PUBLISHED)
    if "same" in row:
        other = next(f for f in figures if (f.stage, f.data, f.what) == (figure.stage, figure.data, row["same"]))
        peer = f"{shown(other)}: {peer}"
    cells = (figure.stage, figure.data, what, shown(figure), bound.words if bound else "", peer)
    return f"| {' | '.join(cells)} |\n"


def into_page(page: Path, table: str) -> None:
    """Put a table between the two marks; raises ValueError for a page without them."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"{page} has no lines {BEGIN.strip()!r} and {END.strip()!r} to put the table between")
    page.write_text(f"{before}{BEGIN}{table}{END}{after}", encoding="utf-8")
