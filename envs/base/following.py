"""An object's mask carried from frame to frame: moved by its own points, refined by colour, hidden by the hands."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from cutting import ColourCut, grown, smooth, whole, window
from hands import Array, Picture, Pixels
from linking import Box
from numpy.typing import NDArray

LEAST_PIXELS = 24
"""A smaller mask is no object any more."""

TRUST_NEW = 0.45
"""Weight of a frame's own cut against the outline carried on, so that one bad cut does not spoil the shape."""

TURNING = 10
"""Corners that must agree before a turn or a change of size is believed; fewer tell a shift only."""

MOST_GROWTH = 0.08
"""Change of size from one frame to the next that is believed."""

HAND_MARGIN = 6.0
"""px from a hand within which corners would be taken along by it."""

RING = 30.0
"""px around an object whose corners tell how its surroundings move."""

FAINT = 0.01
"""Chance below which a pixel far from an object does not belong to it."""

AROUND = 16
"""px around an object that its next outline and the colours beside it are looked for in, at least."""

NEAR = 0.8
"""How far an object may go on under a hand, in roots of its seen area."""

FADE = 0.88
"""Decay per frame, once it is seen, of the chance that a pixel beside an object is a part that a hand has hidden."""

LEAST_LIKENESS = 0.6
"""Likeness of colours (1: the same) below which the thing under the mask is not the object."""

LOST_AFTER = 8
"""Frames of unlikeness after which an object is given up."""


@dataclass(frozen=True)
class View:
    """One frame at working size: picture, brightness, and the pixels of hands."""

    frame: int
    rgb: Picture
    gray: Picture
    hands: Pixels

    def part(self, around: tuple[slice, slice]) -> View:
        """Some rows and columns of it."""
        return View(self.frame, self.rgb[around], self.gray[around], self.hands[around])


@dataclass
class Followed:
    """One object in one direction of time.

    ``shape``: chance of each pixel, hidden parts included; ``unknown``: pixels beside it that hands hid until now and
    that may be more of it, 0-1.
    """

    shape: Array
    unknown: Array
    cutter: ColourCut
    colours: NDArray[np.float32]
    likeness: float = 1.0
    unlike: int = 0
    frames: list[int] = field(default_factory=list[int])

    @property
    def alive(self) -> bool:
        """Whether it is worth following on."""
        return self.unlike < LOST_AFTER and int((self.shape > 0.5).sum()) >= LEAST_PIXELS

    def visible(self, view: View) -> Pixels | None:
        """The pixels seen of it, None when too few or when they do not look like it."""
        if self.unlike:
            return None
        seen = (self.shape > 0.5) & ~view.hands
        return seen if int(seen.sum()) >= LEAST_PIXELS else None

    def step(self, before: View, now: View) -> None:
        """Carry the shape from one frame to the next one (or the one before)."""
        motion = carried(before, now, self.shape > 0.5)
        height, width = self.shape.shape
        moved = cv2.warpAffine(self.shape, motion, (width, height), flags=cv2.INTER_LINEAR)
        self.unknown = cv2.warpAffine(self.unknown, motion, (width, height), flags=cv2.INTER_LINEAR)
        around = window(
            (moved > FAINT) | (self.unknown > FAINT), AROUND + round(NEAR * float((moved > 0.5).sum()) ** 0.5)
        )
        self.shape, unknown = np.zeros_like(moved), self.unknown
        self.unknown = np.zeros_like(moved)
        if around is None:
            return
        part = now.part(around)
        self.shape[around] = self._refined(part, moved[around], unknown[around])
        self.unknown[around] = hidden(unknown[around], self.shape[around], part.hands)
        seen = (self.shape[around] > 0.5) & ~part.hands
        if int(seen.sum()) >= LEAST_PIXELS:
            self.likeness = likeness(self.colours, colours_of(part.rgb, seen))
            self.unlike = self.unlike + 1 if self.likeness < LEAST_LIKENESS else 0

    def _refined(self, now: View, moved: Array, unknown: Array) -> Array:
        inside = moved > 0.5
        area = int(inside.sum())
        free = ~now.hands
        if int((inside & free).sum()) < LEAST_PIXELS:
            return moved
        reach = max(2.0, 0.07 * area**0.5)
        sure = grown(inside, -1.5 * reach) & free
        possible = (grown(inside, reach) | (unknown > 0.3)) & free
        found = self.cutter.cut(now.rgb, sure, inside & free, possible, now.hands)
        found = whole(found | (inside & now.hands), sure)
        fresh = found & (unknown > 0.3) & ~inside
        if not 0.7 * area <= int(found.sum()) - int(fresh.sum()) <= 1.35 * area:
            return moved
        mixed = (1 - TRUST_NEW) * moved + TRUST_NEW * smooth(found)
        return np.where(now.hands, np.maximum(mixed, moved), mixed)


def started(view: View, box: Box) -> Followed | None:
    """A mask from a box: what differs in colour from the surroundings of the box; None when nothing stands out."""
    height, width = view.gray.shape
    rectangle = np.zeros((height, width), bool)
    rows, columns = slice(max(0, round(box.y0)), round(box.y1)), slice(max(0, round(box.x0)), round(box.x1))
    rectangle[rows, columns] = True
    free = rectangle & ~view.hands
    area = int(free.sum())
    if area < LEAST_PIXELS:
        return None
    cutter = ColourCut()
    reach = 0.08 * area**0.5
    core = grown(free, -0.25 * area**0.5)
    found = whole(cutter.cut(view.rgb, core, free, grown(rectangle, reach) & ~view.hands, view.hands, rounds=4), core)
    found &= ~view.hands
    if not 0.3 * area <= int(found.sum()) <= 1.4 * area:
        return None
    shape = smooth(found)
    return Followed(shape, hidden(np.zeros_like(shape), shape, view.hands), cutter, colours_of(view.rgb, found))


def hidden(unknown: Array, shape: Array, hands: Pixels) -> Array:
    """What may be more of an object: pixels under a hand near it; once seen, the chance fades within some frames."""
    inside = shape > 0.5
    view = window(inside, 2 + round(NEAR * float(inside.sum()) ** 0.5))
    fading = np.where(hands, unknown, unknown * FADE)
    if view is not None:
        near = grown(inside[view], NEAR * float(inside.sum()) ** 0.5)
        fading[view] = np.where(near & hands[view], 1.0, fading[view])
    return fading.astype(np.float32)


def carried(before: View, now: View, inside: Pixels) -> NDArray[np.float64]:
    """Motion [2x3] of an object from one frame to the other: its own, or that of its surroundings.

    Hands that cover most of it take its corners along; so both motions are tried, and the one that brings the colours
    of its seen pixels over better is believed.
    """
    clear = ~grown(before.hands, HAND_MARGIN) if before.hands.any() else ~before.hands
    own = shift(before, now, inside & clear)
    around = shift(before, now, grown(inside, RING) & ~grown(inside, 3.0) & clear)
    known = [motion for motion in (own, around) if motion is not None]
    if not known:
        return np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    return min(known, key=lambda motion: mismatch(before, now, inside & ~before.hands, motion))


def mismatch(before: View, now: View, seen: Pixels, motion: NDArray[np.float64]) -> float:
    """Mean difference of colour of the pixels ``seen`` when they are moved, leaving out what ends under a hand."""
    view = window(seen, 0)
    if view is None:
        return 255.0
    rows, columns = np.nonzero(seen[view])
    rows, columns = rows + view[0].start, columns + view[1].start
    at = np.rint(np.stack([columns, rows, np.ones_like(rows)], axis=1) @ motion.T).astype(int)
    height, width = seen.shape
    inside = ((at >= 0) & (at < [width, height])).all(axis=1)
    inside[inside] &= ~now.hands[at[inside, 1], at[inside, 0]]
    if inside.sum() < LEAST_PIXELS:
        return 255.0
    there = now.rgb[at[inside, 1], at[inside, 0]].astype(np.int16)
    return float(np.abs(there - before.rgb[rows[inside], columns[inside]]).mean())


def shift(before: View, now: View, seen: Pixels) -> NDArray[np.float64] | None:
    """Rotation, scale and shift [2x3] that most corners of the pixels ``seen`` agree on, None without corners.

    They are followed by pyramidal Lucas-Kanade there and back; few of them tell a shift only.
    """
    around = window(seen, 2)
    if around is None:
        return None
    top, left = around[0].start, around[1].start
    found = cv2.goodFeaturesToTrack(before.gray[around], 60, 0.005, 3, mask=seen[around].astype(np.uint8))
    if found is None:
        return None
    start = found.reshape(-1, 1, 2) + np.array([left, top], np.float32)
    there, ok, _ = cv2.calcOpticalFlowPyrLK(before.gray, now.gray, start, None, winSize=(13, 13), maxLevel=3)
    back, ok_back, _ = cv2.calcOpticalFlowPyrLK(now.gray, before.gray, there, None, winSize=(13, 13), maxLevel=3)
    good = (ok & ok_back).reshape(-1).astype(bool) & (np.linalg.norm(back - start, axis=2).reshape(-1) < 1.0)
    old, new = start[good].reshape(-1, 2), there[good].reshape(-1, 2)
    if len(old) >= TURNING:
        motion, inliers = cv2.estimateAffinePartial2D(old, new, method=cv2.RANSAC, ransacReprojThreshold=1.5)
        if motion is not None and inliers.sum() >= TURNING and inliers.mean() > 0.4:
            growth = float(np.linalg.det(motion[:, :2])) ** 0.5
            if abs(growth - 1) < MOST_GROWTH:
                return motion
    if len(old) < 2:
        return None
    dx, dy = np.median(new - old, axis=0).tolist()
    return np.array([[1.0, 0.0, dx], [0.0, 1.0, dy]])


def colours_of(rgb: Picture, inside: Pixels) -> NDArray[np.float32]:
    """Histogram [8x8x8] of the colours of a mask, softened, summing to 1."""
    view = window(inside, 0) or (slice(None), slice(None))
    lab = cv2.cvtColor(np.ascontiguousarray(rgb[view]), cv2.COLOR_RGB2LAB)
    counts = cv2.calcHist([lab], [0, 1, 2], inside[view].astype(np.uint8), [8, 16, 16], [0, 256] * 3).astype(np.float32)
    for axis in range(3):
        counts = counts + 0.5 * (np.roll(counts, 1, axis) + np.roll(counts, -1, axis))
    return counts / max(float(counts.sum()), 1e-6)


def likeness(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Bhattacharyya coefficient of two histograms, 0-1."""
    return float(np.sqrt(a * b).sum())
