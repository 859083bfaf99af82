"""One line of the benchmark's table: two measured values, their ratio, and whether it meets its goal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

HEADER = "| | what | egoworld | compared with | ratio | goal | met |\n|---|---|---|---|---|---|---|"


@dataclass(frozen=True)
class Measure:
    """What one benchmark measured.

    ours, other: the two sides in ``unit``; against: what the other side is. at_most, at_least: the goal for ours/other.
    absent: why it could not run.
    """

    letter: str
    what: str
    ours: float | None = None
    other: float | None = None
    unit: str = "s"
    against: str = ""
    at_most: float | None = None
    at_least: float | None = None
    absent: str = ""

    @property
    def ratio(self) -> float | None:
        """ours/other; None where there is no other side."""
        return self.ours / self.other if self.ours is not None and self.other else None

    @property
    def met(self) -> bool | None:
        """Whether the ratio keeps to the goal; None without a goal or without a ratio."""
        if self.ratio is None or self.at_most is self.at_least is None:
            return None
        low, high = self.at_least, self.at_most
        return (low is None or self.ratio >= low) and (high is None or self.ratio <= high)

    @property
    def goal(self) -> str:
        """The goal in words; empty when there is none."""
        parts = [f"at most {self.at_most:g}"] if self.at_most is not None else []
        return ", ".join(parts + ([f"at least {self.at_least:g}"] if self.at_least is not None else []))

    def markdown(self) -> str:
        """Its line of the table."""
        if self.absent:
            return f"| {self.letter} | {self.what} | not run: {self.absent} | | | {self.goal} | |"
        other = f"{shown(self.other, self.unit)} {self.against}".strip()
        ratio = "" if self.ratio is None else f"{self.ratio:.3g}" if self.ratio < 0.1 else f"{self.ratio:.2f}"
        met = {None: "", True: "yes", False: "**no**"}[self.met]
        ours = shown(self.ours, self.unit)
        return f"| {self.letter} | {self.what} | {ours} | {other} | {ratio} | {self.goal} | {met} |"

    def as_data(self) -> dict[str, Any]:
        """The same for programs."""
        return {**asdict(self), "ratio": self.ratio, "met": self.met}


def shown(value: float | None, unit: str) -> str:
    """A value with three significant digits and its unit; empty when there is none."""
    if value is None:
        return ""
    if value >= 100 or value == int(value):
        return f"{value:,.0f} {unit}".strip()
    return f"{value:.3g} {unit}".strip()


def table(lines: Sequence[str]) -> str:
    """Lines of measures as one Markdown table."""
    return "\n".join([HEADER, *lines])
