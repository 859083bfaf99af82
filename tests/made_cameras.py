"""Files as phones, cameras, editors and recorders write them; every picture carries its number (see made_videos)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.packet import Packet
from av.stream import Disposition
from numpy.typing import NDArray

from tests.made_videos import TICKS, number_in, numbered

Edit = tuple[int, int]
"""A span of the recording that an edit list shows: its first ms and its length in ms; first -1 shows nothing."""
HERTZ = 16_000


def boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, begin and end of the boxes of an MP4 that lie in [start, end) (ISO 14496-12, 4.2; 32-bit sizes)."""
    while start + 8 <= end:
        size, kind = struct.unpack(">I4s", data[start : start + 8])
        yield kind, start, start + size
        start += size


def edited(path: Path, source: Path, edits: Sequence[Edit]) -> Path:
    """An MP4 whose track shows these spans of it alone: the edit list that a phone's trimming leaves (8.6.6)."""
    data = source.read_bytes()
    movie, media = (_timescale(data, box) for box in (b"mvhd", b"mdhd"))
    entries = (
        struct.pack(">IiI", length * movie // 1000, -1 if first < 0 else first * media // 1000, 1 << 16)
        for first, length in edits
    )
    listed = _box(b"edts", _box(b"elst", struct.pack(">II", 0, len(edits)) + b"".join(entries)))

    def rebuilt(start: int, end: int) -> bytes:
        parts = []
        for kind, begin, stop in boxes(data, start, end):
            if kind in (b"moov", b"trak"):
                parts.append(_box(kind, rebuilt(begin + 8, stop)))
            elif kind == b"mdia":
                parts.append(listed + data[begin:stop])
            elif kind != b"edts":
                parts.append(data[begin:stop])
        return b"".join(parts)

    assert data.index(b"mdat") < data.index(b"moov"), "places of pictures would change"
    path.write_bytes(rebuilt(0, len(data)))
    return path


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


def _timescale(data: bytes, kind: bytes) -> int:
    """Ticks a second of an mvhd or mdhd box of version 0."""
    at = data.index(kind) + 16
    return int(struct.unpack(">I", data[at : at + 4])[0])


def with_sound(path: Path, pictures: int, first_ms: int, sound_ms: int, options: dict[str, str] | None = None) -> Path:
    """Pictures 40 ms apart from ``first_ms`` on beside ``sound_ms`` of sound from 0 on; options: the container's."""
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.time_base = stream.codec_context.time_base = TICKS
        sound = container.add_stream("aac", rate=HERTZ, layout="mono")
        packets: list[Packet[Any]] = []
        for number in range(pictures):
            frame = av.VideoFrame.from_ndarray(numbered(number), format="rgb24")
            frame.pts, frame.time_base = first_ms + 40 * number, TICKS
            packets += stream.encode(frame)
        packets += stream.encode(None)
        for at in range(0, sound_ms * HERTZ // 1000, 1024):
            block = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            block.sample_rate, block.pts, block.time_base = HERTZ, at, Fraction(1, HERTZ)
            packets += sound.encode(block)
        packets += sound.encode(None)
        for packet in sorted(packets, key=lambda p: float((p.dts or 0) * (p.time_base or 0))):
            container.mux(packet)
    return path


def webcam(path: Path, kept: Sequence[int], rate: int = 25) -> Path:
    """An MJPEG AVI that has pictures in these of its slots, ``rate`` a second; the others it marks as empty."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, rate)
        for slot in kept:
            frame = av.VideoFrame.from_ndarray(numbered(slot), format="rgb24")
            frame.pts, frame.time_base = slot, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def with_streams(path: Path, sizes: Sequence[tuple[int, int]], default: int | None, pictures: int = 12) -> Path:
    """A file of several streams of pictures, each of a size in px; ``default``: which of them is marked so."""
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("libx264", rate=25) for _ in sizes]
        for place, (stream, (width, height)) in enumerate(zip(streams, sizes, strict=True)):
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.disposition = Disposition.default if place == default else Disposition(0)
        for number in range(pictures):
            for stream, (width, height) in zip(streams, sizes, strict=True):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(numbered(number, width, height), "rgb24")))
        for stream in streams:
            container.mux(stream.encode(None))
    return path


def copied(path: Path, source: Path, keep: Callable[[int, Packet[Any]], bool], **options: str) -> Path:
    """The packets of a video's pictures that ``keep(number, packet)`` takes, as they are; options: the container's."""
    with av.open(str(source)) as old, av.open(str(path), "w", options=options) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for number, packet in enumerate(p for p in old.demux(video=0) if p.size):
            if keep(number, packet):
                packet.stream = stream
                new.mux(packet)
    return path


def filmed(number: int, shot: int = 0, step: int = 2, width: int = 160, height: int = 120) -> NDArray[np.uint8]:
    """A picture of a textured wall that the camera moves along, with its number (see numbered) along the top."""
    rng = np.random.default_rng(shot)
    wall = np.kron(rng.integers(30, 226, (height // 8, 200, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8))
    picture = wall[:, number * step : number * step + width].copy()
    picture[:16] = numbered(number, width, 16)
    return picture


def number_on_top(rgb: NDArray[np.uint8]) -> int:
    """The number of a decoded picture of ``filmed``."""
    return number_in(rgb[2:14])


def spoiled(path: Path, source: Path, packets: Iterable[int], *, zeros: bool = False, most: int | None = None) -> Path:
    """The same file, some packets of it scrambled, or zeros as lost blocks read, behind their first bytes.

    most: how many bytes of each packet at most; None for all.
    """
    data, rng = bytearray(source.read_bytes()), np.random.default_rng(5)
    with av.open(str(source)) as container:
        places = [(packet.pos or 0, packet.size) for packet in container.demux(video=0) if packet.size]
    for packet in packets:
        begin, size = places[packet]
        first = begin + min(30, size // 2)
        count = min(begin + size - first, most or size)
        data[first : first + count] = bytes(count) if zeros else rng.integers(0, 256, count, dtype=np.uint8).tobytes()
    path.write_bytes(data)
    return path


def first_bytes(path: Path, source: Path, share: float) -> Path:
    """What is there of a file when its copying, or its recorder, stopped."""
    data = source.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path
