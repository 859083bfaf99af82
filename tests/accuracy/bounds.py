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
GOOD = ("IoU", "has a", "hand found", "registered", "F1", "recall", "precision")
"""What makes a figure one that is better when it is larger."""
HARMLESS = {"focal length error": 2.0, "ATE": 0.3, "rotation error": 0.5}
"""Errors (%, degrees) up to which nothing that follows suffers, but which double with any change of the input."""
HEADER = """\
# The worst that each figure may be, and what it was when the bound was set: an error may grow by half and up to what is
# harmless (see bounds.py), a share may lose five points, and what is counted must not get worse.
# Written by `python -m tests.accuracy --set-bounds`."""


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

    An error may grow by half and up to what is harmless, a share may lose five points; what is counted and what is at
    0 % must not get worse.
    """
    worst, best = max(figure.values), min(figure.values)
    if figure.what == "cuts found at the exact frame":
        return "at_least", best
    if any(word in figure.what for word in GOOD):
        margin, steps = (5.0, 10.0) if figure.unit == "%" else (0.05, 100.0)
        return "at_least", max(0.0, float(np.floor(steps * (best - margin)) / steps))
    return "at_most", max(float(f"{1.5 * worst:.2g}"), HARMLESS.get(figure.what, 0.0))


def numbers(figure: Figure) -> str:
    """Every value of a figure."""
    return ", ".join(f"{value:.4g}" for value in figure.values)


def written(figures: Iterable[Figure]) -> str:
    """The text of a new table of bounds; raises ValueError for a figure that could not be measured."""
    sections: dict[str, list[str]] = {}
    for figure in figures:
        if not np.all(np.isfinite(figure.values)):
            raise ValueError(f"{figure} has no value, so no bound can be set")
        kind, limit = proposed(figure)
        line = f"{json.dumps(figure.what)} = {{ {kind} = {limit:g}, measured = [{numbers(figure)}] }}"
        sections.setdefault(f"[{json.dumps(figure.data)}.{figure.stage}]", []).append(line)
    return "\n\n".join([HEADER, *("\n".join([head, *lines]) for head, lines in sections.items())]) + "\n"


def broken(figures: Iterable[Figure]) -> list[str]:
    """One line for each figure that breaks its bound."""
    known = bounds()
    return [
        f"{figure.stage}: {figure.what} ({figure.data}) is {numbers(figure)} {figure.unit}, the bound is "
        f"{known[figure.key].words}"
        for figure in figures
        if figure.key in known and not known[figure.key].holds(figure)
    ]
