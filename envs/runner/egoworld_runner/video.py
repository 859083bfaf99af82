"""Exact frame access: the decode index of every frame, its time, and decoding from any of them.

A frame's index counts what the decoder gives, in presentation order, from the first frame of the file. Sizes are as
displayed: the rotation that phones write as metadata is applied.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from av.container import InputContainer
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from egoworld_runner.errors import BadVideo

MAX_PIXELS = 8192 * 8192
"""A larger declared picture is refused before a buffer of its size is asked for."""


@dataclass(frozen=True)
class Frame:
    """One decoded picture: index in the video, presentation time in s from the first frame, uint8 HxWx3 RGB."""

    index: int
    time_s: float
    rgb: NDArray[np.uint8]


@contextmanager
def opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a file on its first real video stream (cover art is none), with threads; raises BadVideo."""
    try:
        container = av.open(str(path), metadata_errors="replace")
    except (FFmpegError, ValueError) as error:
        raise BadVideo(f"{path.name}: not a readable video ({error}); export it again as MP4 or MKV") from error
    with container:
        streams = [s for s in container.streams.video if not s.disposition & s.disposition.attached_pic]
        if not streams:
            kinds = sorted({s.type for s in container.streams}) or ["nothing"]
            raise BadVideo(f"{path.name}: no video stream, only {', '.join(kinds)}; give a file with pictures")
        stream = streams[0]
        if not stream.codec_context:
            raise BadVideo(f"{path.name}: no decoder for its video stream; re-encode it as H.264")
        if not 0 < stream.width * stream.height <= MAX_PIXELS:
            raise BadVideo(f"{path.name}: declares {stream.width}x{stream.height} px; re-encode it at a real size")
        stream.thread_type = "AUTO"
        yield container, stream


def decode(container: InputContainer, stream: VideoStream, corrupt: list[str] | None = None) -> Iterator[VideoFrame]:
    """Decoded frames in presentation order; packets that cannot be decoded are skipped and noted in ``corrupt``."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
            yield from packet.decode()
        except (StopIteration, EOFError):
            return
        except FFmpegError as error:
            if corrupt is None:
                continue
            corrupt.append(str(error))
            if len(corrupt) > 10_000:
                return


def to_rgb(frame: VideoFrame) -> NDArray[np.uint8]:
    """The frame as uint8 HxWx3 RGB, upright."""
    rgb: NDArray[Any] = frame.to_ndarray(format="rgb24")
    turns = round((frame.rotation or 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(rgb, turns)) if turns else rgb


@dataclass(frozen=True)
class FrameIndex:
    """Every frame of a video: pts in stream ticks, time in s from the first frame, whether it is a seek point.

    ``exact`` is False when timestamps are missing or repeat: such a video is always decoded from its start.
    """

    pts: NDArray[np.int64]
    time_s: NDArray[np.float64]
    key: NDArray[np.bool_]
    width: int
    height: int
    rotation: int
    exact: bool
    corrupt_packets: int

    def __len__(self) -> int:
        return len(self.pts)

    @property
    def fps(self) -> float:
        """Mean frames per second between the first and the last frame; 0 for a single frame."""
        span = float(self.time_s[-1] - self.time_s[0]) if len(self) > 1 else 0.0
        return (len(self) - 1) / span if span > 0 else 0.0

    @property
    def variable(self) -> bool:
        """Whether frame durations differ by more than a millisecond or 10 % from their median."""
        steps = np.diff(self.time_s)
        return bool(len(steps)) and bool(np.any(np.abs(steps - np.median(steps)) > max(1e-3, 0.1 * np.median(steps))))

    @classmethod
    def scan(cls, path: Path) -> FrameIndex:
        """Decode the whole file once and index it; raises BadVideo when nothing can be decoded."""
        corrupt: list[str] = []
        rows: list[tuple[int | None, bool]] = []
        with opened(path) as (container, stream):
            first: VideoFrame | None = None
            for frame in decode(container, stream, corrupt):
                if first is None:
                    first = frame
                elif (frame.width, frame.height) != (first.width, first.height):
                    raise BadVideo(
                        f"{path.name}: picture size changes from {first.width}x{first.height} to "
                        f"{frame.width}x{frame.height} at frame {len(rows)}; re-encode it at one size"
                    )
                rows.append((frame.pts, bool(frame.key_frame)))
            if first is None:
                detail = f" ({corrupt[0]})" if corrupt else ""
                raise BadVideo(f"{path.name}: no frame can be decoded{detail}; it is empty or cut off, copy it again")
            base = float(stream.time_base or 0)
            rate = float(stream.average_rate or stream.guessed_rate or 0) or 30.0
        pts = [row[0] for row in rows]
        numbers = [p for p in pts if p is not None]
        exact = base > 0 and len(numbers) == len(pts) and all(a < b for a, b in pairwise(numbers))
        ticks = np.array(numbers if exact else range(len(pts)), dtype=np.int64)
        seconds = (ticks - ticks[0]) * (base if exact else 1 / rate)
        rotation = int(first.rotation or 0) % 360
        width, height = (first.height, first.width) if rotation in (90, 270) else (first.width, first.height)
        key = np.array([row[1] for row in rows], dtype=np.bool_)
        return cls(ticks, seconds.astype(np.float64), key, width, height, rotation, exact, len(corrupt))

    def write(self, path: Path) -> None:
        """Store as Parquet; ``read`` gives the same index back."""
        table = pa.table({"pts": self.pts, "time_s": self.time_s, "key": self.key})
        facts = {n: str(int(getattr(self, n))) for n in ("width", "height", "rotation", "exact", "corrupt_packets")}
        pq.write_table(table.replace_schema_metadata(facts), path)

    @classmethod
    def read(cls, path: Path) -> FrameIndex:
        """Load what ``write`` stored."""
        table = pq.read_table(path)
        facts = {k.decode(): int(v) for k, v in (table.schema.metadata or {}).items() if k != b"ARROW:schema"}
        pts, time_s, key = (table.column(name).to_numpy(zero_copy_only=False) for name in ("pts", "time_s", "key"))
        width, height, rotation = facts["width"], facts["height"], facts["rotation"]
        return cls(pts, time_s, key, width, height, rotation, bool(facts["exact"]), facts["corrupt_packets"])


def frames(path: Path, index: FrameIndex, start: int, end: int, step: int = 1) -> Iterator[Frame]:
    """Frames start, start+step ... below end, one at a time, each under its decode index.

    Seeks to the last seek point at or before ``start``. Raises BadVideo when the file gives other frames than its
    index says.
    """
    where = {int(p): i for i, p in enumerate(index.pts)} if index.exact else None
    wanted = start
    with opened(path) as (container, stream):
        before = np.flatnonzero(index.key[: start + 1])
        if where is not None and start > 0 and len(before) and before[-1] > 0:
            container.seek(int(index.pts[before[-1]]), stream=stream, backward=True)
        for count, frame in enumerate(decode(container, stream)):
            at = count if where is None else where.get(int(frame.pts or 0), -1)
            if at < wanted:
                continue
            if at != wanted or at >= end:
                break
            yield Frame(at, float(index.time_s[at]), to_rgb(frame))
            wanted += step
            if wanted >= end:
                return
    if wanted < end:
        raise BadVideo(f"{path.name}: frame {wanted} of {len(index)} cannot be decoded; the file changed or is damaged")
