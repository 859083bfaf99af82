"""How the background moves in a clip: where a point of one frame lies in the first one, were it part of the room."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from egoworld_runner.hands.sighting import Array

Image = NDArray[np.uint8]

WIDTH = 240
"""About the width of the pictures that are compared, px."""

BLOCK = 48
"""The side of a block whose shift is measured, px of those; it can shift by less than half of it."""

EVERY_S = 0.2
"""Time between two frames that are compared, s."""

AGREES = 1.0
"""Blocks whose shift is nearer than this to that of the fit belong to the background, px."""

FEWEST = 0.35
"""The least share of blocks that has to agree; a step with fewer is not known."""


class Background:
    """Compares a frame every EVERY_S with the one before, by the shifts of blocks, and adds the steps up.

    A shift is the peak of the phase correlation (Kuglin and Hines, "The phase correlation image alignment method",
    1975); an affine map is fitted to the shifts of all blocks, those that disagree left out step by step.
    """

    def __init__(self, fps: float) -> None:
        self._step = max(1, round(EVERY_S * fps))
        self._before: Array | None = None
        self._scale = 1
        self._to_first: dict[int, Array] = {}
        self._stretch: dict[int, int] = {}

    def look(self, frame: int, rgb: Image) -> None:
        """Take the next frame [h, w, 3]; most are skipped."""
        if self._to_first and frame < max(self._to_first) + self._step:
            return
        self._scale = max(1, rgb.shape[1] // WIDTH)
        now = _small(rgb, self._scale)
        if self._before is None or self._before.shape != now.shape:
            self._to_first[frame], self._stretch[frame] = np.eye(3), 0
        else:
            last = max(self._to_first)
            back = _step_back(self._before, now)
            self._stretch[frame] = self._stretch[last] + (back is None)
            self._to_first[frame] = self._to_first[last] @ (np.eye(3) if back is None else back)
        self._before = now

    def stretch(self, frame: int) -> int | None:
        """Number of the stretch without an unknown step that a frame lies in; None if it was not compared."""
        return self._stretch.get(frame)

    def in_first(self, frame: int, point: Array) -> Array:
        """Where a point x, y of a frame lies in the first frame, px, were it part of the background."""
        small = self._to_first[frame] @ np.array([*(point / self._scale), 1.0])
        return small[:2] * self._scale

    def in_frame(self, frame: int, point: Array) -> Array:
        """Where a point x, y of the first frame lies in a later one, px, were it part of the background."""
        small = np.linalg.inv(self._to_first[frame]) @ np.array([*(point / self._scale), 1.0])
        return np.asarray(small[:2] * self._scale, np.float64)


def _small(rgb: Image, scale: int) -> Array:
    """The green of a picture, each ``scale`` x ``scale`` px as their mean, [h, w]."""
    green = rgb[: rgb.shape[0] // scale * scale, : rgb.shape[1] // scale * scale, 1]
    high, wide = green.shape[0] // scale, green.shape[1] // scale
    return green.reshape(high, scale, wide, scale).mean(axis=(1, 3))


def _step_back(before: Array, now: Array) -> Array | None:
    """The affine map [3x3] from the small picture ``now`` to ``before``; None when no background is recognised."""
    tops = range(0, now.shape[0] - BLOCK + 1, BLOCK // 2)
    lefts = range(0, now.shape[1] - BLOCK + 1, BLOCK // 2)
    corners = [(left, top) for top in tops for left in lefts]
    blocks = np.array([[p[y : y + BLOCK, x : x + BLOCK] for x, y in corners] for p in (before, now)])
    if len(corners) < 6:
        return None
    textured = blocks.std(axis=(2, 3)).min(axis=0) > 2.0
    if textured.sum() < 6:
        return None
    at = np.array(corners, dtype=np.float64)[textured] + (BLOCK - 1) / 2
    shifts = _shifts(blocks[0][textured], blocks[1][textured])
    return _fitted(at, at - shifts)


def _shifts(before: Array, now: Array) -> Array:
    """By how much the content of each block [n, BLOCK, BLOCK] moved, x and y in px, to a fraction of a px."""
    window = np.outer(np.hanning(BLOCK), np.hanning(BLOCK))
    a, b = (np.fft.rfft2((p - p.mean(axis=(1, 2), keepdims=True)) * window) for p in (before, now))
    cross = b * np.conj(a)
    peaks = np.fft.irfft2(cross / np.maximum(np.abs(cross), 1e-9), s=(BLOCK, BLOCK))
    y, x = np.unravel_index(peaks.reshape(len(peaks), -1).argmax(axis=1), (BLOCK, BLOCK))
    each = np.arange(len(peaks))
    dx = x + _vertex(*(peaks[each, y, (x + k) % BLOCK] for k in (-1, 0, 1)))
    dy = y + _vertex(*(peaks[each, (y + k) % BLOCK, x] for k in (-1, 0, 1)))
    shifts = np.stack([dx, dy], axis=1)
    return (shifts + BLOCK / 2) % BLOCK - BLOCK / 2


def _vertex(left: Array, middle: Array, right: Array) -> Array:
    """Where the parabola through three neighbouring values has its top, from the middle one, within half a px."""
    bend = left - 2 * middle + right
    return np.clip(np.where(bend < 0, (left - right) / (2 * np.where(bend < 0, bend, -1.0)), 0.0), -0.5, 0.5)


def _fitted(points: Array, targets: Array) -> Array | None:
    """The affine map [3x3] that most of the points [n, 2] follow to their targets."""
    shift = np.median(targets - points, axis=0)
    near = np.linalg.norm(targets - points - shift, axis=1) < 4 * AGREES
    rows = np.column_stack([points, np.ones(len(points))])
    solved = np.zeros((3, 2))
    for _ in range(5):
        if near.sum() < max(6, FEWEST * len(points)):
            return None
        solved = np.linalg.lstsq(rows[near], targets[near], rcond=None)[0]
        near = np.linalg.norm(rows @ solved - targets, axis=1) < AGREES
    found = np.eye(3)
    found[:2] = solved.T
    return found
