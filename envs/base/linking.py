"""Boxes of single frames linked over time into tracklets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.optimize import linear_sum_assignment


@dataclass(frozen=True)
class Box:
    """A box in one frame, px, with its detector's score and label, and whether it touches the picture's border."""

    frame: int
    x0: float
    y0: float
    x1: float
    y1: float
    score: float
    border: bool = False
    label: str = "object"

    @property
    def center(self) -> tuple[float, float]:
        return (self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2

    @property
    def area(self) -> float:
        return max(0.0, self.x1 - self.x0) * max(0.0, self.y1 - self.y0)

    def moved(self, dx: float, dy: float) -> Box:
        """The same box elsewhere."""
        return replace(self, x0=self.x0 + dx, y0=self.y0 + dy, x1=self.x1 + dx, y1=self.y1 + dy)


def overlap(a: Box, b: Box) -> float:
    """How far two boxes are of one thing, 0-1; see ``shared``."""
    width = max(0.0, min(a.x1, b.x1) - max(a.x0, b.x0))
    height = max(0.0, min(a.y1, b.y1) - max(a.y0, b.y0))
    return shared(width * height, a.area, b.area, named_alike=a.label == b.label)


def meet(a: Box, b: Box) -> bool:
    """Whether two boxes have a pixel in common."""
    return min(a.x1, b.x1) > max(a.x0, b.x0) and min(a.y1, b.y1) > max(a.y0, b.y0)


def shared(both: float, a: float, b: float, *, named_alike: bool) -> float:
    """The area ``both`` over the smaller one, so that a part seen of a thing still belongs to it; of different names,
    over the union (IoU): a cup on a table is no part of it, but a cup may be called a bowl in between.
    """
    whole = min(a, b) if named_alike else a + b - both
    return both / whole if both > 0 and whole > 0 else 0.0


@dataclass
class Tracklet:
    """Boxes of one thing in frame order."""

    boxes: list[Box] = field(default_factory=list[Box])

    @property
    def last(self) -> Box:
        return self.boxes[-1]

    def expected(self, frame: int) -> Box:
        """Where the last box would be by the tracklet's recent speed."""
        recent = self.boxes[-4:]
        steps = recent[-1].frame - recent[0].frame
        if not steps:
            return self.last
        (ax, ay), (bx, by) = recent[0].center, recent[-1].center
        ahead = (frame - self.last.frame) / steps
        return self.last.moved((bx - ax) * ahead, (by - ay) * ahead)

    @property
    def votes(self) -> dict[str, float]:
        """The scores of its boxes, summed for each name."""
        found: dict[str, float] = {}
        for box in self.boxes:
            found[box.label] = found.get(box.label, 0.0) + box.score
        return found

    @property
    def path(self) -> float:
        """Length of the way of the centres between every fourth box, px."""
        points = np.array([box.center for box in self.boxes[::4]])
        return float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())


def link(frames: Iterable[tuple[int, Sequence[Box]]], patience: int, least: float = 0.2) -> list[Tracklet]:
    """Tracklets of boxes given frame by frame in order.

    A box joins the tracklet that it overlaps best (Hungarian assignment) by at least ``least``; a tracklet ends
    after ``patience`` frames without a box.
    """
    ended: list[Tracklet] = []
    alive: list[Tracklet] = []
    for frame, boxes in frames:
        ended += [track for track in alive if frame - track.last.frame > patience]
        alive = [track for track in alive if frame - track.last.frame <= patience]
        taken: set[int] = set()
        if alive and boxes:
            gain = np.array([[overlap(track.expected(frame), box) for box in boxes] for track in alive])
            for row, column in zip(*linear_sum_assignment(-gain), strict=True):
                if gain[row, column] >= least:
                    alive[row].boxes.append(boxes[column])
                    taken.add(int(column))
        alive += [Tracklet([box]) for number, box in enumerate(boxes) if number not in taken]
    return ended + alive
