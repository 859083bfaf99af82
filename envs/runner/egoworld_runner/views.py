"""Whether two pictures show the same place: a flash, a change of the light or a repeated picture is no cut."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import chain

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Thumbnail = NDArray[np.float32]
"""A picture scaled down to SIZE by the mean of areas, float32 [36, 64, 3]."""

SIZE = (64, 36)
"""Width and height of thumbnails, px."""
BRIGHTNESS = np.array([0.299, 0.587, 0.114], np.float32)
"""Of red, green and blue (ITU-R BT.601)."""
INNER = 0.6
"""As large a part of a picture, from its middle, is looked for in the other: the camera moves."""
LIKENESS = 0.75
"""Correlation of pictures of one take; those of different shots reached 0.66 in the measured data."""
TINT = 0.06
"""Shares of red, green and blue differ less between pictures of one take, however bright."""
FLAT = 2.0
"""A picture whose levels vary less shows nothing that could be looked for."""
LEVELS = 3.0
REPEATED = 1.0
"""Mean difference in levels, below which flat pictures are alike, and below which a picture is repeated."""
LOOK = 6
"""A flash is over after fewer pictures."""


def repeated(one: Thumbnail, other: Thumbnail) -> bool:
    """Whether a picture was shown again, as cameras do in low light and recorders that fill up a rate."""
    return float(np.abs(one - other).mean()) < REPEATED


def alike(one: Thumbnail, other: Thumbnail) -> bool:
    """Whether two pictures show the same place, perhaps moved or in another light."""
    if min(float(picture.std(axis=(0, 1)).max()) for picture in (one, other)) < FLAT:
        return float(np.abs(one - other).mean()) < LEVELS
    tints = [picture.mean(axis=(0, 1)) / max(1.0, float(picture.mean(axis=(0, 1)).sum())) for picture in (one, other)]
    if float(np.abs(tints[0] - tints[1]).max()) > TINT:
        return False
    return max(_found(one, other), _found(other, one)) >= LIKENESS


def differ(before: Sequence[Thumbnail], after: Sequence[Thumbnail]) -> bool:
    """Whether another place is seen behind a frame: no picture on one side is like the one beside it."""
    pairs = chain(((before[-1], one) for one in after), ((one, after[0]) for one in before[:-1]))
    return not any(alike(one, other) for one, other in pairs)


def _found(one: Thumbnail, other: Thumbnail) -> float:
    """The best correlation of the middle of one picture with any part of the other, of their brightness."""
    grey, within = one @ BRIGHTNESS, other @ BRIGHTNESS
    width, height = (round(INNER * size) for size in SIZE)
    left, top = (SIZE[0] - width) // 2, (SIZE[1] - height) // 2
    part = grey[top : top + height, left : left + width]
    part = part - part.mean()
    places = sliding_window_view(within, part.shape)
    spread = np.sqrt(places.var(axis=(2, 3)) * part.size * (part**2).sum())
    products = np.einsum("abij,ij->ab", places, part)
    return float(np.divide(products, spread, out=np.zeros_like(products), where=spread > 0).max())


class Views:
    """The last pictures of a video, each by its frame number."""

    def __init__(self) -> None:
        self._seen: deque[tuple[int, Thumbnail]] = deque(maxlen=4 * LOOK)

    def add(self, frame: int, picture: Thumbnail) -> None:
        """The next picture."""
        self._seen.append((frame, picture))

    def behind(self, frame: int) -> int:
        """How many pictures from a frame on are known."""
        return sum(number >= frame for number, _ in self._seen)

    def differ(self, frame: int) -> bool:
        """Whether another place is seen from a frame on, by LOOK pictures on each side."""
        before = [picture for number, picture in self._seen if number < frame][-LOOK:]
        after = [picture for number, picture in self._seen if number >= frame][:LOOK]
        return differ(before, after)
