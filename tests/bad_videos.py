"""Files that are no videos, bad ones, and good ones under bad names, each with what it must end as."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.video.stream import VideoStream

from tests.made_videos import sound_only

MP4 = b"\0\0\0\x18ftypisom\0\0\2\0isomiso2"
"""How an MP4 begins."""
GOOD = ("good.mp4", "good too.mkv")
TRUNCATED = (10, 50, 90)
INDEX_FIRST = {"movflags": "faststart"}
"""Puts the index of an MP4 before the pictures."""


@dataclass(frozen=True)
class Bad:
    """A file to be made and what must become of it: its state in `egoworld status` and words of the reason."""

    name: str
    make: Callable[[Path], object]
    state: str
    reason: str = ""


PIX_FMT = {"mjpeg": "yuvj420p", "gif": "rgb8"}


def encoded(
    path: Path,
    frames: int = 20,
    size: tuple[int, int] = (64, 48),
    codec: str = "libx264",
    streams: int = 1,
    options: dict[str, str] | None = None,
) -> Path:
    """A short video of noise with one cut, in the container that the suffix names; options: those of the container."""
    rng = np.random.default_rng(frames)
    with av.open(str(path), "w", options=options or {}) as container:
        made: list[VideoStream] = []
        for _ in range(streams):
            stream = cast(VideoStream, container.add_stream(codec, rate=Fraction(10)))
            stream.width, stream.height = size
            stream.pix_fmt = PIX_FMT.get(codec, "yuv420p")
            stream.options = {"g": "6", "threads": "1"} if codec == "libx264" else {}
            made.append(stream)
        for number in range(frames):
            light = np.uint8(170 * (2 * number // frames))
            picture = rng.integers(0, 60, (size[1], size[0], 3), dtype=np.uint8) + light
            for stream in made:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        for stream in made:
            container.mux(stream.encode(None))
    return path


def good(path: Path, mark: str = "") -> Path:
    """A good MP4; ``mark`` (default: its name) goes into an unused box, so that no two have the same bytes."""
    beside = path.parent / f".making-{os.getpid()}.mp4"
    data = encoded(beside).read_bytes()
    beside.unlink()
    payload = os.fsencode(mark or path.name)
    path.write_bytes(data + struct.pack(">I4s", 8 + len(payload), b"free") + payload)
    return path


def cut(path: Path, percent: int, suffix: str, options: dict[str, str] | None = None) -> Path:
    """The first ``percent`` of a file's bytes."""
    beside = path.parent / f".making-{percent}{suffix}"
    data = encoded(beside, frames=40, options=options).read_bytes()
    beside.unlink()
    path.write_bytes(data[: len(data) * percent // 100])
    return path


def patched(path: Path, codec: str, find: bytes, offset: int, new: bytes, suffix: str = "") -> Path:
    """A good file with ``new`` written ``offset`` bytes after every ``find``."""
    beside = path.parent / f".making{suffix or path.suffix}"
    data = bytearray(encoded(beside, codec=codec).read_bytes())
    beside.unlink()
    at = data.find(find)
    assert at != -1, f"{find!r} is not in the file"
    while at != -1:
        data[at + offset : at + offset + len(new)] = new
        at = data.find(find, at + 1)
    path.write_bytes(data)
    return path


def changing(path: Path) -> Path:
    """An H.264 stream whose pictures change size midway."""
    parts = [encoded(path.parent / f".{n}.h264", size=size) for n, size in enumerate(((64, 48), (128, 96)))]
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    for part in parts:
        part.unlink()
    return path


def playlist(path: Path) -> Path:
    """A text that makes FFmpeg open other files."""
    path.write_text("ffconcat version 1.0\nfile 'good.mp4'\n")
    return path


def sixteen_bit(*numbers: int, order: str = "<") -> bytes:
    return struct.pack(f"{order}{len(numbers)}H", *numbers)


def contents() -> Iterator[Bad]:
    """Bad bytes under harmless names."""
    yield Bad("zero.mp4", lambda p: p.touch(), "refused", "is empty")
    yield Bad("text.mp4", lambda p: p.write_text("no pictures in here\n" * 40), "refused", "is a text")
    yield Bad("notes.txt", lambda p: p.write_text("a text, by its name too\n" * 40), "refused", "is a text")
    yield Bad("playlist.mp4", playlist, "refused", "is a text")
    yield Bad("nothing behind.mp4", lambda p: p.write_bytes(MP4 + b"x" * 99), "failed", "not a readable video")
    yield Bad("sound.mp4", sound_only, "refused", "is sound")
    yield Bad("one frame.mp4", lambda p: encoded(p, frames=1), "failed", "only 1 frame")
    yield Bad("picture.gif", lambda p: encoded(p, codec="gif"), "fresh")
    yield Bad("two streams.mp4", lambda p: encoded(p, streams=2), "fresh")
    yield Bad("changing.h264", changing, "failed", "picture size changes from 64x48 to 128x96")
    yield Bad("no rate.avi", lambda p: patched(p, "mjpeg", b"vidsMJPG", 20, bytes(8)), "fresh")
    yield Bad(
        "no timescale.mp4",
        lambda p: patched(p, "libx264", b"mdhd", 16, bytes(4)),
        "failed",
        "only 1 frame",
    )
    huge = sixteen_bit(60000, 60000)
    yield Bad("huge.gif", lambda p: patched(p, "gif", b"GIF89a", 6, huge), "failed", "declares 0x0 px")
    jpeg = sixteen_bit(60000, 60000, order=">")
    yield Bad(
        "huge.avi", lambda p: patched(p, "mjpeg", b"\xff\xc0\x00\x11\x08", 5, jpeg), "failed", "no frame can be decoded"
    )
    yield Bad("huge.mp4", lambda p: patched(p, "libx264", b"avc1\0\0\0\0\0\0\0\1", 28, jpeg), "fresh")
    for percent in TRUNCATED:
        short = f"cut at {percent}"
        yield Bad(f"{short}.mp4", lambda p, n=percent: cut(p, n, ".mp4"), "failed", "not a readable video")
        yield Bad(f"{short}, index first.mp4", lambda p, n=percent: cut(p, n, ".mp4", INDEX_FIRST), "failed", "cut off")
        if percent < 90:
            yield Bad(f"{short}.mkv", lambda p, n=percent: cut(p, n, ".mkv"), "failed", "cut off, only")
        else:  # half a second of four is missing: noted, not refused
            yield Bad(f"{short}.mkv", lambda p, n=percent: cut(p, n, ".mkv"), "fresh")


def names() -> Iterator[Bad]:
    """Good bytes under names that break programs; all of them become videos."""
    for name in (
        " spaces  inside .mp4",
        "Küche – 厨房 🎥.mp4",
        "new\nline.mp4",
        "-dash.mp4",
        "dots...mp4",
        "%2e%2e%2fx.mp4",
        "Case.mp4",
        "case.mp4",
        "Caf\u00e9.mp4",
        "Cafe\u0301.mp4",
        "[red].mp4",
        "x[/red].mp4",
        "escape \x1b[31m.mp4",
        "turned \u202e4pm.exe.mp4",
        "'quote\" $(x) `y` ;&|.mp4",
        "l" * 251 + ".mp4",
        os.fsdecode(b"not utf-8 \xff\xfe.mp4"),
    ):
        yield Bad(name, good, "fresh")


def write_all(folder: Path, bad: Iterator[Bad]) -> list[Bad]:
    """Make the files in ``folder``; returns what was made."""
    made = list(bad)
    for file in made:
        (folder / file.name).parent.mkdir(exist_ok=True)
        file.make(folder / file.name)
    return made
