"""How bad each figure may be. `bounds.toml` beside this module says what was measured when each bound was set."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from tests.accuracy.figures import Figure

FILE = Path(__file__).with_name("bounds.toml")
GOOD = ("IoU", "has a", "hand found", "registered", "F1")
"""What makes a figure one that is better when it is larger."""
HEADER = """\
# The worst that each figure may be, and what it was when the bound was set: an error may grow by half, a share may lose
# five points, and what is counted must not get worse. Written by `python -m tests.accuracy --set-bounds`."""


@dataclass(frozen=True)
class Bound:
    """The worst value that is accepted: at_most of an error, at_least of a share."""

    limit: float
    at_most: bool

    def holds(self, figure: Figure) -> bool:
        """Whether every value keeps the bound; one that could not be measured does not."""
        values = np.array(figure.values)
        return len(values) > 0 and bool(np.all(values <= self.limit if self.at_most else values >= self.limit))

    @property
    def words(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {self.limit:g}"


@cache
def bounds() -> dict[tuple[str, str, str], Bound]:
    """Every bound by stage, data and what is measured."""
    found: dict[tuple[str, str, str], Bound] = {}
    for data, stages in tomllib.loads(FILE.read_text(encoding="utf-8")).items():
        for stage, entries in stages.items():
            for what, entry in entries.items():
                at_most = "at_most" in entry
                found[stage, data, what] = Bound(float(entry["at_most" if at_most else "at_least"]), at_most)
    return found


def proposed(figure: Figure) -> tuple[str, float]:
    """at_most or at_least, and the bound for what is measured now.

    An error may grow by half, a share may lose five points; what is counted and what is at 0 % must not get worse.
    """
    worst, best = max(figure.values), min(figure.values)
    if figure.what == "cuts found at the exact frame":
        return "at_least", best
    if any(word in figure.what for word in GOOD):
        margin = 5.0 if figure.unit == "%" else 0.05
        return "at_least", float(np.floor(1e3 * (best - margin)) / 1e3)
    return "at_most", float(f"{1.5 * worst:.2g}")


def numbers(figure: Figure) -> str:
    """Every value of a figure."""
    return ", ".join(f"{value:.4g}" for value in figure.values)


def written(figures: Iterable[Figure]) -> str:
    """The text of a new table of bounds; raises ValueError for a figure that could not be measured."""
    lines, section = [HEADER], ""
    for figure in figures:
        head = f"[{json.dumps(figure.data)}.{figure.stage}]"
        if head != section:
            section = head
            lines.append(f"\n{head}")
        if not np.all(np.isfinite(figure.values)):
            raise ValueError(f"{figure} has no value, so no bound can be set")
        kind, limit = proposed(figure)
        lines.append(f"{json.dumps(figure.what)} = {{ {kind} = {limit:g}, measured = [{numbers(figure)}] }}")
    return "\n".join(lines) + "\n"


def broken(figures: Iterable[Figure]) -> list[str]:
    """One line for each figure that breaks its bound."""
    known = bounds()
    return [
        f"{figure.stage}: {figure.what} ({figure.data}) is {numbers(figure)} {figure.unit}, the bound is "
        f"{known[figure.key].words}"
        for figure in figures
        if figure.key in known and not known[figure.key].holds(figure)
    ]
