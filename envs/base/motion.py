"""Motion against the camera's own: dense flow between frames a little apart, less what the camera explains."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import reduce

import cv2
import numpy as np
from hands import Array, Picture, Pixels

LEAST_MOTION = 0.6
"""px between the two frames below which flow is noise, at a picture width of 320."""

NOISE_FACTOR = 4.0
"""Motion must exceed the median residual, which holds noise and parallax, by this factor."""

COLOUR_NOISE = 14.0
"""Grey levels by which compression and light alone change a pixel."""

DEEPEST_SHADOW = 0.45
"""The share of its light that a surface keeps at least in a moving shadow."""

GRID = 8
"""px between the flow vectors that the camera's motion is fitted to."""


def dense_flow() -> cv2.DISOpticalFlow:
    """Dense inverse search (Kroeger et al. 2016) at a speed of about 3 ms for 320x180."""
    return cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)


def pixel_grid(height: int, width: int) -> Array:
    """x, y of every pixel, [h, w, 2]."""
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    return np.stack([xs, ys], axis=-1)


@dataclass(frozen=True)
class Motion:
    """Motion of one frame: residual against the camera [h, w] px, and ``moving``, the pixels that move on their own.

    ``threshold`` [h, w] is the residual that counts as motion. ``moving`` is sharp: a pixel belongs to it only when its
    colour is found neither in the past nor in the future frame where the camera alone would have put it.
    """

    frame: int
    rgb: Picture
    residual: Array
    moving: Pixels
    threshold: Array


@dataclass(frozen=True)
class _View:
    frame: int
    rgb: Picture
    gray: Picture
    light: Array
    ignore: Pixels
    near: Pixels


class MotionField:
    """Takes frames in order and says what moves between ``gap`` frames before and after each; so it lags by ``gap``."""

    def __init__(self, height: int, width: int, gap: int) -> None:
        self._flow = dense_flow()
        self._grid = pixel_grid(height, width)
        self._views: deque[_View] = deque(maxlen=2 * gap + 1)
        self._gap = gap
        self._scale = width / 320

    def step(self, frame: int, rgb: Picture, ignore: Pixels, near: Pixels) -> Motion | None:
        """Motion of the frame ``gap`` before this one.

        ignore: pixels that do not tell the camera's motion. near: where motion is likely, so that noise alone is the
        measure; elsewhere motion must also exceed the parallax of the room.
        """
        gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        self._views.append(_View(frame, rgb, gray, _light(gray, self._scale), ignore, near))
        if len(self._views) <= 2 * self._gap:
            return None
        now = self._views[self._gap]
        sides = [self._against(now, self._views[0]), self._against(now, self._views[-1])]
        found = [side for side in sides if side is not None]
        if not found:
            return None
        noise, parallax = (max(side[1][n] for side in found) for n in (0, 1))
        low, high = (max(LEAST_MOTION * self._scale, NOISE_FACTOR * level) for level in (noise, parallax))
        threshold = np.where(now.near, np.float32(low), np.float32(high))
        residual = reduce(np.maximum, (side[0] for side in found))
        foreign = reduce(np.minimum, (side[2] for side in found))
        slack = COLOUR_NOISE + np.maximum(0.5 * self._scale, 0.5 * threshold) * _gradient(now.gray)
        return Motion(now.frame, now.rgb, residual, (residual > threshold) & (foreign > slack), threshold)

    def _against(self, now: _View, other: _View) -> tuple[Array, tuple[float, float], Array] | None:
        """Residual flow to another frame, its noise and parallax, and the colour error of the camera's motion."""
        flow = self._flow.calc(now.gray, other.gray, None)
        camera = self._camera(flow, ~now.ignore)
        if camera is None:
            return None
        residual = length(self._grid + flow - camera)
        warped = cv2.remap(other.rgb, camera, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        inside = cv2.remap(np.ones_like(other.gray), camera, None, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT)
        shade = _shade(now.light, _light(cv2.cvtColor(warped, cv2.COLOR_RGB2GRAY), self._scale))
        differences = (np.abs(a - shade * b) for a, b in zip(cv2.split(now.rgb), cv2.split(warped), strict=True))
        error = reduce(np.maximum, differences)
        error = cv2.GaussianBlur(error, (0, 0), 0.8 * self._scale)
        error[inside == 0] = 0.0
        static = residual[~now.ignore]
        fitting = int(np.count_nonzero(static < self._scale))
        parallax, noise = _medians(static, len(static), fitting or len(static))
        return residual, (min(parallax, noise), parallax), error

    def _camera(self, flow: Array, static: Pixels) -> Array | None:
        """Where the camera's motion alone would have each pixel in the other frame: a homography by RANSAC."""
        grid = np.s_[GRID // 2 :: GRID, GRID // 2 :: GRID]
        at = static[grid]
        here = self._grid[grid][at]
        if len(here) < 30:
            return None
        found, inliers = cv2.findHomography(here, here + flow[grid][at], cv2.RANSAC, self._scale, maxIters=500)
        if found is None or inliers.mean() < 0.3:
            return None
        return cv2.perspectiveTransform(self._grid.reshape(-1, 1, 2), found).reshape(self._grid.shape)


def length(vectors: Array) -> Array:
    """Lengths [h, w] of vectors [h, w, 2]; eight times as fast as NumPy's norm along a short axis."""
    x, y = vectors[..., 0], vectors[..., 1]
    return np.sqrt(x * x + y * y)


def _medians(values: Array, *counts: int) -> list[float]:
    """The median of as many of the least of the values as each of ``counts`` says; to sort is faster than to part."""
    ordered = np.sort(values)
    return [float((ordered[(count - 1) // 2] + ordered[count // 2]) / 2) for count in counts]


def _light(gray: Picture, scale: float) -> Array:
    """The mean brightness of each pixel's surroundings."""
    size = 2 * round(4 * scale) + 1
    return cv2.blur(gray.astype(np.float32), (size, size))


def _shade(now: Array, before: Array) -> Array:
    """By how much each pixel's surroundings became darker, 1 where they did not: a shadow is no object."""
    return np.clip(now / np.maximum(before, 1.0), DEEPEST_SHADOW, 1.0)


def _gradient(gray: Picture) -> Array:
    """Change of brightness per px, the largest of the 3x3 neighbours."""
    dx, dy = cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1)
    return cv2.dilate(cv2.magnitude(dx, dy) / 8, np.ones((3, 3), np.uint8))
