"""The shape of a hand in the picture, from its 21 joints in MediaPipe's order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from egoworld_runner.hand_boxes import palm_length

Array = NDArray[np.float32]
Picture = NDArray[np.uint8]
Pixels = NDArray[np.bool_]

FINGERS = ((1, 2, 3, 4), (5, 6, 7, 8), (9, 10, 11, 12), (13, 14, 15, 16), (17, 18, 19, 20))
PALM = (0, 1, 5, 9, 13, 17)
SIDES = ("left", "right")
SKIN_SPREAD = 3.0
"""Mahalanobis distance in colour up to which a pixel may be skin."""


@dataclass(frozen=True)
class Hand:
    """One hand in one frame: joints [21x2] in px of the picture at hand, side and score."""

    side: str
    score: float
    joints: Array

    @property
    def obj_id(self) -> int:
        """1 for the left hand, 2 for the right one."""
        return 1 + SIDES.index(self.side)

    @cached_property
    def palm(self) -> float:
        """Length of the palm, px."""
        return palm_length(self.joints)

    def flesh(self, shape: tuple[int, int], width: float) -> Pixels:
        """Palm and fingers drawn ``width`` palms thick; shape: height, width."""
        canvas = np.zeros(shape, np.uint8)
        points = np.rint(self.joints * 8).astype(np.int32)
        thickness = max(1, round(width * self.palm))
        cv2.fillPoly(canvas, [points[list(PALM)]], 1, shift=3)
        for finger in FINGERS:
            cv2.polylines(canvas, [points[list(finger)]], isClosed=False, color=1, thickness=thickness, shift=3)
        cv2.polylines(canvas, [points[list(PALM)]], isClosed=True, color=1, thickness=thickness, shift=3)
        return canvas.view(bool)

    def forearm(self, shape: tuple[int, int], length: float, width: float = 0.75) -> Pixels:
        """A bar from the wrist away from the fingers, ``length`` and ``width`` in palms."""
        canvas = np.zeros(shape, np.uint8)
        wrist, knuckles = self.joints[0], self.joints[[5, 9, 13, 17]].mean(axis=0)
        away = wrist - knuckles
        away = away / max(float(np.linalg.norm(away)), 1e-6)
        ends = np.rint(np.stack([wrist, wrist + away * length * self.palm]) * 8).astype(np.int32)
        cv2.polylines(canvas, [ends], isClosed=False, color=1, thickness=max(1, round(width * self.palm)), shift=3)
        return canvas.view(bool)

    def behind(self, shape: tuple[int, int]) -> Pixels:
        """Pixels behind the wrist, where the arm is: a cone of 45 degrees to both sides; shape: height, width."""
        wrist, knuckles = self.joints[0], self.joints[[5, 9, 13, 17]].mean(axis=0)
        away = (wrist - knuckles) / max(float(np.linalg.norm(wrist - knuckles)), 1e-6)
        y, x = (np.arange(size, dtype=np.float32) - at for size, at in zip(shape, wrist[::-1], strict=True))
        along = np.add.outer(y * away[1], x * away[0] + np.float32(0.15 * self.palm))
        aside = np.abs(np.add.outer(y * away[0], x * -away[1]))
        return (along > 0) & (aside < np.float32(0.6 * self.palm) + along)


def hands_by_frame(rows: Iterable[Mapping[str, Any]], scale: float, least: float = 0.0) -> dict[int, list[Hand]]:
    """Rows of hand_poses as hands per frame, left before right; least: score to count.

    scale: of the picture at hand to the video. Below 1 the joints only guide a search: they are up to half a px off.
    """
    found: dict[int, list[Hand]] = {}
    for row in rows:
        if row["score"] >= least:
            joints = np.asarray(row["keypoints_2d"], np.float32).reshape(21, 2) * np.float32(scale)
            found.setdefault(int(row["frame"]), []).append(Hand(row["side"], float(row["score"]), joints))
    for hands in found.values():
        hands.sort(key=lambda hand: hand.side)
    return found


def bridged(hands: Mapping[int, list[Hand]], longest: int) -> dict[int, list[Hand]]:
    """The same with gaps of at most ``longest`` frames filled by straight interpolation, side by side."""
    filled = {frame: list(found) for frame, found in hands.items()}
    for side in SIDES:
        seen = [(frame, hand) for frame in sorted(hands) for hand in hands[frame] if hand.side == side]
        for (start, first), (end, second) in pairwise(seen):
            if end - start > longest:
                continue
            for frame in range(start + 1, end):
                part = np.float32((frame - start) / (end - start))
                joints = (1 - part) * first.joints + part * second.joints
                filled.setdefault(frame, []).append(Hand(side, min(first.score, second.score), joints))
    for found in filled.values():
        found.sort(key=lambda hand: hand.side)
    return filled


class Skin:
    """The wearer's own skin: mean and spread of colour (Y, Cr, Cb), learnt from pixels surely inside the hands."""

    def __init__(self) -> None:
        self._mean: NDArray[np.float64] | None = None
        self._spread = np.eye(3)

    def learn(self, colour: Array, inside: Pixels, rate: float = 0.1) -> None:
        """Take the pixels ``inside`` of a frame; colour: [h, w, 3] of ``colour_of``."""
        pixels = colour[inside]
        if len(pixels) < 30:
            return
        light, red, blue = (np.abs(channel - middle_level(channel)) for channel in np.ascontiguousarray(pixels.T))
        near = pixels[(light < 60) & (red < 14) & (blue < 14)]
        if len(near) < 20:
            return
        mean, spread = near.mean(axis=0), np.cov(near.T) + np.diag([100.0, 16.0, 16.0])
        if self._mean is None:
            self._mean, self._spread = mean, spread
        else:
            self._mean = (1 - rate) * self._mean + rate * mean
            self._spread = (1 - rate) * self._spread + rate * spread

    def likely(self, colour: Array) -> Pixels:
        """Pixels that may be skin; none of them before anything was learnt."""
        if self._mean is None:
            return np.zeros(colour.shape[:2], bool)
        away = colour - self._mean.astype(np.float32)
        inverse = np.linalg.inv(self._spread).astype(np.float32)
        x, y, z = np.moveaxis((away.reshape(-1, 3) @ inverse).reshape(away.shape) * away, 2, 0)
        return x + y + z < SKIN_SPREAD**2


def middle_level(levels: Array) -> np.float32:
    """The median of whole numbers from 0 to 255, by counting them."""
    below = np.cumsum(np.bincount(levels.astype(np.uint8), minlength=256))
    low, high = np.searchsorted(below, ((len(levels) - 1) // 2, len(levels) // 2), side="right")
    return np.float32((low + high) / 2)


def colour_of(rgb: Picture) -> Array:
    """Y, Cr and Cb of a picture, [h, w, 3], a little smoothed."""
    return cv2.GaussianBlur(cv2.cvtColor(rgb, cv2.COLOR_RGB2YCrCb), (0, 0), 1.0).astype(np.float32)
