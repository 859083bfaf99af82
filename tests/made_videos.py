"""Small videos whose every frame carries its own number in black and white, and ways to spoil them."""

from __future__ import annotations

import struct
import wave
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

BITS = 8
TICKS = Fraction(1, 1000)


def numbered(number: int, width: int = 64, height: int = 48) -> NDArray[np.uint8]:
    """A picture of ``number`` in eight upright bars, white for a set bit, the lowest bit at the left."""
    picture = np.full((height, width, 3), 40, np.uint8)
    for bit in range(BITS):
        if number >> bit & 1:
            picture[:, width * bit // BITS : width * (bit + 1) // BITS] = 215
    return picture


def number_in(rgb: NDArray[np.uint8]) -> int:
    """The number that a decoded picture carries."""
    width = rgb.shape[1]
    middles = [width * (2 * bit + 1) // (2 * BITS) for bit in range(BITS)]
    return sum(1 << bit for bit, x in enumerate(middles) if rgb[:, x].mean() > 128)


def make_video(
    path: Path,
    pictures: Sequence[NDArray[np.uint8]],
    times: Sequence[int] | None = None,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    options: Mapping[str, str] | None = None,
    pixel_shape: Fraction = Fraction(1),
) -> Path:
    """Encode pictures; times: ms of each one's presentation, 40 ms apart by default; pixel_shape: width by height."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = pix_fmt
        stream.time_base = stream.codec_context.time_base = TICKS
        stream.codec_context.sample_aspect_ratio = pixel_shape
        stream.options = dict(options or {})
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = times[number] if times else 40 * number, TICKS
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def counting(path: Path, frames: int, times: Sequence[int] | None = None, **options: str) -> Path:
    """A video that counts its frames from 0."""
    return make_video(path, [numbered(n) for n in range(frames)], times, options=options)


def turned(path: Path, source: Path, quarter_turns: int) -> Path:
    """The same MP4, to be shown turned clockwise."""
    cos, sin = ((1, 0), (0, 1), (-1, 0), (0, -1))[quarter_turns % 4]
    return with_matrix(path, source, (cos, sin, -sin, cos))


def with_matrix(path: Path, source: Path, matrix: tuple[int, int, int, int]) -> Path:
    """The same MP4 with a, b, c, d in the matrix of its track header: (x, y) is shown at (ax + cy, bx + dy) (8.3.2)."""
    one, (a, b, c, d) = 1 << 16, matrix
    written = struct.pack(">9i", a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30)
    data = bytearray(source.read_bytes())
    start = data.index(b"tkhd") + 4 + 40
    data[start : start + len(written)] = written
    path.write_bytes(data)
    return path


def sound_only(path: Path) -> Path:
    """A WAV file under any name."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(b"\0\0" * 800)
    return path


def of_squares(seed: int, count: int, size: tuple[int, int]) -> list[NDArray[np.uint8]]:
    """Pictures of coloured squares of 16 px, each with others. size: height and width, px."""
    height, width = size
    coarse = np.random.default_rng(seed).integers(0, 255, (count, height // 16, width // 16, 3), np.uint8)
    return list(coarse.repeat(16, axis=1).repeat(16, axis=2))
