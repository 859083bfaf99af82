"""The frames as the reconstruction sees them: grey, at working size, with what moves masked out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from egoworld_runner import Clip


@dataclass(frozen=True)
class View:
    """One frame at working size: decode index, grey [h, w], RGB [h, w, 3], and where the world is static [h, w]."""

    frame: int
    grey: NDArray[np.uint8]
    rgb: NDArray[np.uint8]
    static: NDArray[np.bool_]


class StaticWorld:
    """The views of a clip; hands and moving objects are masked, grown by a margin in working pixels.

    ``size``: working width and height, px; ``scale``: working px per px of the video, the same on both axes up to
    rounding.
    """

    def __init__(self, clip: Clip, masks: list[dict[str, Any]], work_side: int, margin_px: int) -> None:
        self._clip = clip
        shrink = min(1.0, work_side / max(clip.width, clip.height))
        self.size = (max(1, round(clip.width * shrink)), max(1, round(clip.height * shrink)))
        self.scale = np.array([self.size[0] / clip.width, self.size[1] / clip.height])
        self._grow = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin_px + 1, 2 * margin_px + 1))
        self._masks: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for row in masks:
            self._masks[int(row["frame"])].append(row)

    def views(self) -> Iterator[View]:
        """Every frame of the clip in order, decoded one at a time."""
        for frame in self._clip.frames():
            rgb = frame.rgb
            if (rgb.shape[1], rgb.shape[0]) != self.size:
                rgb = np.asarray(cv2.resize(rgb, self.size, interpolation=cv2.INTER_AREA), np.uint8)
            grey = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)
            yield View(frame.index, grey, rgb, self._static(frame.index))

    def _static(self, frame: int) -> NDArray[np.bool_]:
        moving = np.zeros((self.size[1], self.size[0]), np.uint8)
        for row in self._masks.get(frame, ()):
            rle = {"size": [row["height"], row["width"]], "counts": row["rle"].encode("ascii")}
            moving |= np.asarray(cv2.resize(coco.decode(rle), self.size, interpolation=cv2.INTER_NEAREST_EXACT))
        return cv2.dilate(moving, self._grow) == 0


def inside(allowed: NDArray[np.bool_], points: NDArray[Any]) -> NDArray[np.bool_]:
    """Which points [n, 2] (px, first pixel's centre at 0) lie in the picture and on an allowed pixel."""
    height, width = allowed.shape
    at = np.floor(np.nan_to_num(points, nan=-9.0) + 0.5).clip(-9, 1 << 20).astype(int)
    good = (at[:, 0] >= 0) & (at[:, 1] >= 0) & (at[:, 0] < width) & (at[:, 1] < height)
    good[good] = allowed[at[good, 1], at[good, 0]]
    return good
