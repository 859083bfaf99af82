"""Boxes of single frames linked over time into tracklets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment


@dataclass(frozen=True)
class Box:
    """A box in one frame, px, with the score of its detector and whether it touches the picture's border."""

    frame: int
    x0: float
    y0: float
    x1: float
    y1: float
    score: float
    border: bool = False

    @property
    def center(self) -> tuple[float, float]:
        return (self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2

    @property
    def area(self) -> float:
        return max(0.0, self.x1 - self.x0) * max(0.0, self.y1 - self.y0)

    def moved(self, dx: float, dy: float) -> Box:
        """The same box elsewhere."""
        return Box(self.frame, self.x0 + dx, self.y0 + dy, self.x1 + dx, self.y1 + dy, self.score, self.border)


def overlap(a: Box, b: Box) -> float:
    """Shared area over the smaller box's, so that a part seen of an object still belongs to it."""
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    height = min(a.y1, b.y1) - max(a.y0, b.y0)
    least = min(a.area, b.area)
    return width * height / least if width > 0 and height > 0 and least > 0 else 0.0


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
