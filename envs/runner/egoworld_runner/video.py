"""Exact frame access: the decode index of every frame, its time, and decoding from any of them.

A frame's index counts what the decoder gives, in presentation order, from the first frame of the file. Sizes are as
displayed: the matrix (turns and mirrors) that phones write is applied, and pixels are square.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from av.container import InputContainer
from av.error import ArgumentError, FFmpegError
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from egoworld_runner.errors import BadVideo

MAX_PIXELS = 8192 * 8192
"""A larger declared picture is refused before a buffer of its size is asked for."""

MAX_CORRUPT = 10_000
"""A file with so many packets that cannot be decoded, and fewer frames, is given up."""

NO_FILM = Disposition.attached_pic | Disposition.still_image | Disposition.timed_thumbnails
"""Streams of pictures that are no film: cover art, a still beside the film, thumbnails for seeking."""

MAX_STRETCH = 4.0
NEARLY_SQUARE = 0.005
"""Pixels are believed to be up to so many times as wide as high; so little off is the rounding of an encoder."""

SEEKS = 2
"""So many seek points are tried before a video is decoded from its start."""

MAX_GAP_S = 3600.0
MAX_FPS = 1000.0
"""Timestamps with a longer gap between neighbours, or a higher mean rate, are not believed."""

FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,h264,hevc,obu,av1,ivf,vc1,h263,flv,live_flv,"
    "asf,ogg,mxf,gxf,nut,rm,dv,wtv,nsv,swf,mjpeg,mpjpeg,yuv4mpegpipe,gif,apng,webp_pipe,png_pipe,jpeg_pipe,bmp_pipe,"
    "tiff_pipe,wav,aac,mp3,flac,ac3,eac3,aiff,amr,w64,caf,ape"
)
"""What files are read as. Playlists and text formats are not among them: those would open other files."""

Scanned = Callable[[int], None]
"""Told of a running scan: frames so far."""


@dataclass(frozen=True)
class Frame:
    """One decoded picture: index in the video, presentation time in s from the first frame, uint8 HxWx3 RGB."""

    index: int
    time_s: float
    rgb: NDArray[np.uint8]


@contextmanager
def opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a file on the stream that players show by default, with threads; raises BadVideo."""
    limits = {"max_pixels": str(MAX_PIXELS)}
    only_this = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
    try:
        container = av.open(f"file:{path}", options=limits, container_options=only_this, metadata_errors="replace")
    except ArgumentError as error:  # FFmpeg's answer to a format that is not on the list
        what = "its contents are those of a playlist, a text or another kind of file"
        raise BadVideo(f"{path.name}: not a readable video, {what}; give a video file") from error
    except (FFmpegError, ValueError) as error:
        raise BadVideo(
            f"{path.name}: not a readable video ({_cause(error)}); copy it again, or export it as MP4 or MKV"
        ) from error
    with container:
        streams = [s for s in container.streams.video if not s.disposition & NO_FILM]
        if not streams:
            kinds = sorted({s.type for s in container.streams}) or ["nothing"]
            raise BadVideo(f"{path.name}: no video stream, only {', '.join(kinds)}; give a file with pictures")
        stream = max(streams, key=_shown_first)
        if not stream.codec_context:
            raise BadVideo(f"{path.name}: no decoder for its video stream; re-encode it as H.264")
        if not (stream.width > 0 < stream.height and stream.width * stream.height <= MAX_PIXELS):
            size = f"{stream.width}x{stream.height} px"
            raise BadVideo(
                f"{path.name}: declares {size}; 1 to {MAX_PIXELS} px in all are read, re-encode it at a real size"
            )
        stream.codec_context.options = limits
        stream.thread_type = "AUTO"
        yield container, stream


def _shown_first(stream: VideoStream) -> tuple[bool, bool, int]:
    """What players choose by: a stream that can be decoded, the default one, then the largest picture."""
    decodable = bool(stream.codec_context)
    size = stream.width * stream.height if decodable else 0
    return decodable, bool(stream.disposition & Disposition.default), size if size <= MAX_PIXELS else 0


def _cause(error: Exception) -> str:
    """FFmpeg's own words without the path that it adds."""
    return error.strerror if isinstance(error, FFmpegError) and error.strerror else str(error)


def decode(container: InputContainer, stream: VideoStream, corrupt: list[str] | None = None) -> Iterator[VideoFrame]:
    """Decoded frames in presentation order; packets that cannot be decoded are skipped and noted in ``corrupt``.

    Ends after as many packets, or frames, as the file has bytes: a broken index can promise them without end.
    """
    budget = max(container.size, 1)
    for packet in _packets(container, stream, corrupt):
        try:
            for frame in stream.decode(packet):
                yield frame
                budget -= 1
        except EOFError:
            return
        except FFmpegError as error:
            if corrupt is not None:
                corrupt.append(_cause(error))
        budget -= 1
        if budget <= 0:
            return


def _packets(
    container: InputContainer, stream: VideoStream, corrupt: list[str] | None
) -> Iterator[Packet[VideoStream] | None]:
    """Packets of the stream; None, which makes the decoder give what it holds back, after one that cannot be read."""
    try:
        yield from container.demux(stream)
    except EOFError:
        yield None
    except FFmpegError as error:
        if corrupt is not None:
            corrupt.append(_cause(error))
        yield None


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

    def rgb(self, frame: VideoFrame) -> NDArray[np.uint8]:
        """The frame as uint8 HxWx3 RGB, as shown."""
        stretched = (self.width, self.height) != (frame.width, frame.height)
        size: dict[str, Any] = {"width": self.width, "height": self.height, "interpolation": "BICUBIC"}
        rgb: NDArray[Any] = frame.to_ndarray(format="rgb24", **(size if stretched else {}))
        if self.transposed:
            rgb = rgb.transpose(1, 0, 2)
        return np.ascontiguousarray(rgb[:: -1 if self.top_bottom else 1, :: -1 if self.left_right else 1])

    def __str__(self) -> str:
        turned = f" turned by {self.rotation}" if self.rotation else ""
        return f"{self.width}x{self.height}{turned}{' mirrored' if self.mirrored else ''}"


@dataclass(frozen=True)
class FrameIndex:
    """Every frame of a video: pts in stream ticks, time in s from the first frame, whether it is a seek point.

    ``exact`` is False when timestamps are missing, repeat or cannot be meant: such a video is always decoded from its
    start and its frames are timed by its declared rate.
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
    def scan(cls, path: Path, scanned: Scanned | None = None) -> FrameIndex:
        """Decode the whole file once and index it; raises BadVideo when nothing can be decoded."""
        corrupt: list[str] = []
        pts, key = array("q"), bytearray()
        timed, leading = True, 0  # what cannot be decoded before the first picture belongs to pictures before the file
        with opened(path) as (container, stream):
            first: Display | None = None
            for frame in decode(container, stream, corrupt):
                display = Display.of(stream, frame)
                first = first or display
                if display != first:
                    raise BadVideo(
                        f"{path.name}: picture size changes from {first} to {display} at frame {len(key)}; re-encode "
                        f"it at one size"
                    )
                if len(key) < len(corrupt) > MAX_CORRUPT:
                    break
                leading = leading if key else len(corrupt)
                timed = timed and frame.pts is not None
                pts.append(frame.pts or 0)
                key.append(frame.key_frame)
                if scanned:
                    scanned(len(key))
            if first is None:
                detail = f" ({corrupt[0]})" if corrupt else ""
                raise BadVideo(f"{path.name}: no frame can be decoded{detail}; it is empty or cut off, copy it again")
            base = float(stream.time_base or 0) if timed else 0.0
            rate = float(stream.average_rate or stream.guessed_rate or 0)
        ticks = np.array(pts, dtype=np.int64)
        exact = believable(ticks, base)
        if not exact:
            ticks, base = np.arange(len(key), dtype=np.int64), 1 / (rate if 1 / MAX_GAP_S < rate <= MAX_FPS else 30.0)
        seconds = (ticks - ticks[0]).astype(np.float64) * base
        keys = np.frombuffer(bytes(key), dtype=np.bool_)
        return cls(ticks, seconds, keys, *first.size, first.rotation, exact, len(corrupt) - leading)

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


def believable(ticks: NDArray[np.int64], base: float) -> bool:
    """Whether timestamps rise from frame to frame by steps that a camera can make; base: s per tick."""
    if base <= 0:
        return False
    steps = np.diff(ticks.astype(np.float64)) * base
    rising = bool(np.all(ticks[1:] > ticks[:-1]))
    return rising and (not len(steps) or bool(steps.max() <= MAX_GAP_S and steps.mean() * MAX_FPS >= 1))


def frames(path: Path, index: FrameIndex, start: int, end: int, step: int = 1) -> Iterator[Frame]:
    """Frames start, start+step ... below end, one at a time, each under its decode index.

    Seeks to the last seek point at or before ``start``. Raises BadVideo when the file gives other frames than its
    index says.
    """
    wanted = start
    for at, frame, display in _from(path, index, start):
        if at < wanted:
            continue
        if at != wanted or at >= end:
            break
        try:
            rgb = display.rgb(frame)
        except (FFmpegError, OSError, ValueError) as error:
            what = f"frame {at} ({frame.format.name}) cannot be turned into RGB ({_cause(error)})"
            raise BadVideo(f"{path.name}: {what}; re-encode it as H.264") from error
        yield Frame(at, float(index.time_s[at]), rgb)
        wanted += step
        if wanted >= end:
            return
    if wanted < end:
        raise BadVideo(f"{path.name}: frame {wanted} of {len(index)} cannot be decoded; the file changed or is damaged")


def _from(path: Path, index: FrameIndex, start: int) -> Iterator[tuple[int, VideoFrame, Display]]:
    """Decoded frames with their index (-1: not in it), from ``start`` or earlier on.

    A container without an index, such as MPEG-TS, may seek to behind the seek point: then from the one before it.
    """
    if not index.exact:
        with opened(path) as (container, stream):
            for at, frame in enumerate(decode(container, stream)):
                yield at, frame, Display.of(stream, frame)
        return
    where = {int(p): i for i, p in enumerate(index.pts)}
    points = [int(point) for point in np.flatnonzero(index.key[: start + 1])[-SEEKS:] if point > 0]
    for point in [*reversed(points), 0]:
        with opened(path) as (container, stream):
            if point > 0:
                container.seek(int(index.pts[point]), stream=stream, backward=True)
            found = (
                (where.get(int(frame.pts or 0), -1), frame, Display.of(stream, frame))
                for frame in decode(container, stream)
            )
            first = next((one for one in found if one[0] >= 0), None)
            if first is None or first[0] > start > 0:
                continue
            yield first
            yield from found
            return
