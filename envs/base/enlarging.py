"""Masks between the working size and the video's, without touching pixels far from them."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
from cutting import window
from hands import Array, Picture, Pixels


class Enlarging:
    """From a working size to that of the video and back; both are width, height."""

    def __init__(self, small: tuple[int, int], full: tuple[int, int]) -> None:
        self._small, self._full = small, full
        self._steps = tuple(Fraction(b, a) for a, b in zip(small, full, strict=True))

    def above_half(self, chance: Array) -> Picture | None:
        """The pixels of the video, [h, w] of 0 and 1 in Fortran order, where a chance [h, w] of the working size,
        enlarged by linear interpolation, is above 0.5; None when there are none.

        Only a window is enlarged. It begins and ends where a pixel's edge of both sizes meets, so its pixels are those
        of the whole.
        """
        view = window(chance > 0, 2)
        if view is None:
            return None
        rows, columns = (self._aligned(part, axis) for part, axis in zip(view, (1, 0), strict=True))
        there = tuple(
            slice(int(part.start * self._steps[axis]), int(part.stop * self._steps[axis]))
            for part, axis in ((rows, 1), (columns, 0))
        )
        size = there[1].stop - there[1].start, there[0].stop - there[0].start
        part = np.ascontiguousarray(chance[rows, columns])
        inside = (part if self._small == self._full else cv2.resize(part, size, interpolation=cv2.INTER_LINEAR)) > 0.5
        if not inside.any():
            return None
        pixels = np.zeros(self._full[::-1], np.uint8, order="F")
        pixels[there] = inside
        return pixels

    def _aligned(self, part: slice, axis: int) -> slice:
        """The part of an axis, wider, so that its ends fall between two pixels of the video."""
        step = self._steps[axis].denominator
        return slice(part.start // step * step, min(self._small[axis], -(-part.stop // step) * step))

    def reduced(self, pixels: Picture) -> Pixels:
        """A mask of the video, [h, w] in Fortran order, at working size: of the pixels under each, the middle one."""
        lying = cv2.resize(pixels.T, self._small[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
        return np.ascontiguousarray(lying.T).astype(bool)
