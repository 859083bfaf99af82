"""How stored pictures are shown: their display matrix and the shape of their pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

MAX_STRETCH = 4.0
NEARLY_SQUARE = 0.005
"""How many times as wide as high pixels may be; a smaller difference is the rounding of an encoder."""


@dataclass(frozen=True)
class Display:
    """How stored pictures are shown: widened to (width, height) px, then transposed, then mirrored.

    That covers the eight matrices of quarter turns and mirrors that files carry (ISO 14496-12, 8.3.2) and pixels that
    are not square; other angles are rounded to the nearest quarter turn.
    """

    width: int
    height: int
    transposed: bool = False
    left_right: bool = False
    top_bottom: bool = False

    @classmethod
    def of(cls, stream: VideoStream, frame: VideoFrame) -> Display:
        """Of a decoded frame: its display matrix, and the shape of the stream's pixels."""
        width, height = frame.width, frame.height
        shape = float(stream.sample_aspect_ratio or 1)
        if 1 / MAX_STRETCH <= shape <= MAX_STRETCH and abs(shape - 1) > NEARLY_SQUARE:
            width, height = (round(width * shape), height) if shape > 1 else (width, round(height / shape))
        matrix = frame.side_data.get("DISPLAYMATRIX")
        if matrix is None:
            return cls(width, height)
        a, b, _, c, d = np.frombuffer(bytes(matrix)[:20], np.int32).astype(np.int64).tolist()
        if abs(a) + abs(d) >= abs(b) + abs(c):
            return cls(width, height, left_right=a < 0, top_bottom=d < 0)
        return cls(width, height, transposed=True, left_right=c < 0, top_bottom=b < 0)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in px as shown."""
        return (self.height, self.width) if self.transposed else (self.width, self.height)

    @property
    def mirrored(self) -> bool:
        """Whether the picture is shown as in a mirror, which no rotation does."""
        return self.transposed ^ self.left_right ^ self.top_bottom

    @property
    def rotation(self) -> int:
        """Degrees counter-clockwise that turn the stored picture to the shown one; of a mirrored one, before that."""
        if self.transposed:
            return 90 if self.top_bottom else 270
        return 180 if self.top_bottom else 0

    def rgb(self, frame: VideoFrame, reformatter: VideoReformatter) -> NDArray[np.uint8]:
        """The frame as uint8 HxWx3 RGB, as shown. reformatter: one for all frames of a video, so it prepares once."""
        stretched = (self.width, self.height) != (frame.width, frame.height)
        size: dict[str, Any] = {"width": self.width, "height": self.height, "interpolation": "BICUBIC"}
        rgb: NDArray[Any] = reformatter.reformat(frame, format="rgb24", **(size if stretched else {})).to_ndarray()
        if self.transposed:
            rgb = rgb.transpose(1, 0, 2)
        return np.ascontiguousarray(rgb[:: -1 if self.top_bottom else 1, :: -1 if self.left_right else 1])

    def __str__(self) -> str:
        turned = f" turned by {self.rotation}" if self.rotation else ""
        return f"{self.width}x{self.height}{turned}{' mirrored' if self.mirrored else ''}"
