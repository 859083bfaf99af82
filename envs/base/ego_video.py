"""The ego video of a dataset: frames letterboxed onto a fixed canvas, H.264 at a constant rate, with statistics."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
import numpy as np
from av.video.frame import PictureType, VideoFrame
from numpy.typing import NDArray

from egoworld_runner.lerobot import QUANTILES
from egoworld_runner.pixels import resized

STATS_STEP = 4
"""Every fourth pixel of every fourth line is counted for the statistics."""


@dataclass(frozen=True)
class Letterbox:
    """How a picture lies on the canvas: it is brought to ``scale`` of its size, then moved by (left, top); px."""

    width: int
    height: int
    scale_x: float
    scale_y: float
    left: int
    top: int
    inner_width: int
    inner_height: int

    @classmethod
    def fit(cls, width: int, height: int, canvas_width: int, canvas_height: int) -> Letterbox:
        """The largest even size of the same shape that fits, centred."""
        scale = min(canvas_width / width, canvas_height / height)
        inner = [max(2, 2 * round(size * scale / 2)) for size in (width, height)]
        inner_w, inner_h = min(inner[0], canvas_width), min(inner[1], canvas_height)
        left, top = (canvas_width - inner_w) // 2, (canvas_height - inner_h) // 2
        return cls(canvas_width, canvas_height, inner_w / width, inner_h / height, left, top, inner_w, inner_h)

    def points(self, xy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Picture points [..., 2] in canvas px."""
        return resized(xy, np.array([self.scale_x, self.scale_y])) + np.array([self.left, self.top])

    def intrinsics(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """fx, fy, cx, cy [..., 4] for the canvas."""
        focal = values[..., :2] * (self.scale_x, self.scale_y)
        return np.concatenate([focal, self.points(values[..., 2:])], axis=-1)

    def draw(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The picture on a black canvas, uint8 [height, width, 3]."""
        frame = VideoFrame.from_ndarray(rgb, format="rgb24")
        small = frame.reformat(self.inner_width, self.inner_height, interpolation="AREA").to_ndarray(format="rgb24")
        if (self.inner_width, self.inner_height) == (self.width, self.height):
            return small
        canvas = np.zeros((self.height, self.width, 3), np.uint8)
        canvas[self.top : self.top + self.inner_height, self.left : self.left + self.inner_width] = small
        return canvas


class EgoVideo:
    """Writes one mp4; frame n is shown at n / fps seconds. One encoder thread: the same frames give the same bytes."""

    def __init__(self, path: Path, fps: int, letterbox: Letterbox, crf: int, keyframe_interval: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        options = {"crf": str(crf), "preset": "veryfast", "bf": "0", "g": str(keyframe_interval), "threads": "1"}
        self._container = av.open(str(path), "w", options={"movflags": "+faststart", "fflags": "+bitexact"})
        self._stream = self._container.add_stream("libx264", rate=fps, options=options)
        self._stream.width, self._stream.height, self._stream.pix_fmt = letterbox.width, letterbox.height, "yuv420p"
        self._letterbox, self._base = letterbox, Fraction(1, fps)
        self._count = 0
        self._histogram = np.zeros((3, 256), dtype=np.int64)
        self._all = np.zeros((3, 256), dtype=np.int64)
        self._counted = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._container.mux(self._stream.encode())
        self._container.close()

    def add(self, rgb: NDArray[np.uint8]) -> None:
        """Append one picture; the first of an episode becomes a seek point."""
        canvas = self._letterbox.draw(rgb)
        for channel in range(3):
            sample = canvas[::STATS_STEP, ::STATS_STEP, channel].reshape(-1)
            self._histogram[channel] += np.bincount(sample, minlength=256)
        frame = VideoFrame.from_ndarray(canvas, format="rgb24")
        frame.pts, frame.time_base = self._count, self._base
        if self._counted == 0:
            frame.pict_type = PictureType.I
        self._container.mux(self._stream.encode(frame))
        self._count += 1
        self._counted += 1

    def take_stats(self) -> dict[str, Any]:
        """Statistics of the pictures since the last call; then start again from nothing."""
        stats = picture_stats(self._histogram, self._counted)
        self._all += self._histogram
        self._histogram[:] = 0
        self._counted = 0
        return stats

    def all_stats(self) -> dict[str, Any]:
        """Statistics of all pictures whose own statistics were taken."""
        return picture_stats(self._all, self._count)


def picture_stats(histogram: NDArray[np.int64], pictures: int) -> dict[str, Any]:
    """Statistics per channel, 0-1, shape [3, 1, 1], from counts of the 256 levels [3, 256]."""
    values = np.arange(256) / 255.0
    shares = histogram / histogram.sum(axis=1, keepdims=True)
    below = np.cumsum(shares, axis=1)
    mean = shares @ values
    there = histogram > 0
    found = {
        "min": values[there.argmax(axis=1)],
        "max": values[255 - there[:, ::-1].argmax(axis=1)],
        "mean": mean,
        "std": np.sqrt(np.maximum(shares @ values**2 - mean**2, 0.0)),
    }
    for name, share in QUANTILES.items():
        found[name] = values[(below < share - 1e-12).sum(axis=1)]
    stats: dict[str, Any] = {name: value.reshape(3, 1, 1).tolist() for name, value in found.items()}
    return {**stats, "count": [pictures]}
