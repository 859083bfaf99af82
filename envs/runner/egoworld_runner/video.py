"""Exact frame access: the decode index of every frame, its time, and decoding from any of them.

A frame's index counts what the decoder gives, in presentation order, from the first frame of the file. Sizes are as
displayed: the matrix (turns and mirrors) that phones write is applied, and pixels are square.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from av.container import InputContainer
from av.error import ArgumentError, FFmpegError
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from egoworld_runner.damage import Reports
from egoworld_runner.display import Display
from egoworld_runner.errors import BadVideo
from egoworld_runner.timing import MISSING, Timing

MAX_PIXELS = 8192 * 8192
"""A larger declared picture is refused before a buffer of its size is asked for."""

MAX_CORRUPT = 10_000
"""A file with this many packets that cannot be decoded, and fewer frames, is given up."""

NO_FILM = Disposition.attached_pic | Disposition.still_image | Disposition.timed_thumbnails
"""Streams of pictures that are no film: cover art, a still beside the film, thumbnails for seeking."""

SEEKS = 2
"""Seek points that are tried before a video is decoded from its start."""

HELD_S = 0.5
"""No picture is taken to stand for longer than this, s: a longer gap is a pause of the recording."""

LOST_S = 0.1
"""Lost pictures may be missing from a clip for no longer than this, s."""

UNEVEN = 10
"""Where pictures are rarer, a gap is this many times as long as their usual distance."""

NO_STAMPS = 0x80
"""FFmpeg's flag of a format without timestamps (AVFMT_NOTIMESTAMPS): raw streams."""

FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,h264,hevc,obu,av1,ivf,vc1,h263,flv,live_flv,"
    "asf,ogg,mxf,gxf,nut,rm,dv,wtv,nsv,swf,mjpeg,mpjpeg,yuv4mpegpipe,gif,apng,webp_pipe,png_pipe,jpeg_pipe,bmp_pipe,"
    "tiff_pipe,wav,aac,mp3,flac,ac3,eac3,aiff,amr,w64,caf,ape"
)
"""What files are read as. Playlists and text formats are not among them: those would open other files."""

Scanned = Callable[[int], None]
"""Called during a scan with the number of frames so far."""


@dataclass(frozen=True)
class Frame:
    """One decoded picture: index in the video, presentation time in s from the first frame, uint8 HxWx3 RGB."""

    index: int
    time_s: float
    rgb: NDArray[np.uint8]


@contextmanager
def opened(path: Path, *, threads: bool = True) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a file on the stream that players show by default; raises BadVideo.

    threads: how a decoder conceals damage depends on which of its threads was faster, so one reads what is damaged.
    """
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
        stream.thread_type = "AUTO" if threads else "NONE"
        if not threads:
            stream.codec_context.thread_count = 1
        yield container, stream


def _shown_first(stream: VideoStream) -> tuple[bool, bool, int]:
    """What players choose by: a stream that can be decoded, the default one, then the largest picture."""
    decodable = bool(stream.codec_context)
    size = stream.width * stream.height if decodable else 0
    return decodable, bool(stream.disposition & Disposition.default), size if size <= MAX_PIXELS else 0


def _cause(error: Exception) -> str:
    """FFmpeg's own words without the path that it adds."""
    return error.strerror if isinstance(error, FFmpegError) and error.strerror else str(error)


def decode(container: InputContainer, stream: VideoStream, reports: Reports | None = None) -> Iterator[VideoFrame]:
    """Decoded frames in presentation order; packets that cannot be decoded are skipped. What happens goes to reports.

    Ends after as many packets, or frames, as the file has bytes: a broken index can promise them without end.
    """
    budget = max(container.size, 1)
    reports = Reports() if reports is None else reports
    codec, made_up = stream.codec_context.name, unstamped(container)
    for packet in _packets(container, stream, reports):
        if packet is not None and packet.size:
            reports.packet(packet, codec)
        try:
            for frame in stream.decode(packet):
                if made_up:
                    frame.pts = None
                reports.frame(frame)
                yield frame
                budget -= 1
        except EOFError:
            return
        except FFmpegError as error:
            reports.error(_cause(error))
        budget -= 1
        if budget <= 0:
            return


def _packets(container: InputContainer, stream: VideoStream, reports: Reports) -> Iterator[Packet[VideoStream] | None]:
    """Packets of the stream; None, which makes the decoder give what it holds back, after one that cannot be read."""
    try:
        yield from container.demux(stream)
    except EOFError:
        yield None
    except FFmpegError as error:
        reports.error(_cause(error))
        yield None


class _Damaged(Exception):
    """Something was reported while several threads decoded: which pictures it concerns only one can say."""


@dataclass(frozen=True)
class FrameIndex:
    """Every frame of a video: pts in stream ticks (MISSING: none), time in s from the first frame, and what it is.

    key: a decoder can begin there; damaged: not as it was filmed, see ``damage``; restart: it does not follow on the
    frame before, because another clock begins or pictures between them were lost. timing: where times come from,
    "stamps" of the file, the "rate" that it declares, or a rate that is "assumed" because it declares none.
    corrupt_packets: packets that gave no picture.
    """

    pts: NDArray[np.int64]
    time_s: NDArray[np.float64]
    key: NDArray[np.bool_]
    damaged: NDArray[np.bool_]
    restart: NDArray[np.bool_]
    width: int
    height: int
    rotation: int
    timing: str
    corrupt_packets: int

    def __len__(self) -> int:
        return len(self.pts)

    @property
    def fps(self) -> float:
        """Mean frames per second while the camera filmed, gaps left out; 0 for a single frame."""
        steps = np.diff(self.time_s)
        steps = steps[steps <= max(HELD_S, UNEVEN * float(np.median(steps)))] if len(steps) else steps
        return len(steps) / float(steps.sum()) if len(steps) else 0.0

    @property
    def variable(self) -> bool:
        """Whether frame durations differ by more than a millisecond or 10 % from their median."""
        steps = np.diff(self.time_s)
        return bool(len(steps)) and bool(np.any(np.abs(steps - np.median(steps)) > max(1e-3, 0.1 * np.median(steps))))

    @property
    def sound(self) -> bool:
        """Whether nothing of the file is known to be damaged."""
        return not (self.corrupt_packets or self.damaged.any())

    @classmethod
    def scan(cls, path: Path, scanned: Scanned | None = None) -> FrameIndex:
        """Decode the whole file once and index it; raises BadVideo when nothing can be decoded.

        A file of which anything is reported is decoded once more, by one thread, to know which pictures it concerns.
        """
        try:
            return cls._scanned(path, scanned, threads=True)
        except _Damaged:
            return cls._scanned(path, scanned, threads=False)

    @classmethod
    def _scanned(cls, path: Path, scanned: Scanned | None, *, threads: bool) -> FrameIndex:
        reports = Reports()
        pts, key, leading = array("q"), bytearray(), 0
        with opened(path, threads=threads) as (container, stream):
            first: Display | None = None
            for frame in decode(container, stream, reports):
                display = Display.of(stream, frame)
                first = first or display
                if display != first:
                    raise BadVideo(
                        f"{path.name}: picture size changes from {first} to {display} at frame {len(key)}; re-encode "
                        f"it at one size"
                    )
                if threads and reports:
                    raise _Damaged
                if len(key) < len(reports.errors) > MAX_CORRUPT:
                    break
                leading = leading if key else len(reports.errors)  # these belong to pictures before the file
                pts.append(MISSING if frame.pts is None else frame.pts)
                key.append(frame.key_frame)
                if scanned:
                    scanned(len(key))
            if threads and reports:
                raise _Damaged
            if first is None:
                detail = f" ({reports.errors[0]})" if reports.errors else ""
                raise BadVideo(f"{path.name}: no frame can be decoded{detail}; it is empty or cut off, copy it again")
            ticks, keys = np.array(pts, dtype=np.int64), np.frombuffer(bytes(key), dtype=np.bool_)
            timing, source = _timing(container, stream, ticks)
        damaged, lost = reports.damaged(ticks, keys), len(reports.errors) - leading
        step = np.diff(timing.time_s, prepend=0.0) if timing.stamped else np.full(len(ticks), np.inf)
        restart = timing.restart | (reports.behind_lost(ticks) & (step > LOST_S + 1e-6))
        return cls(ticks, timing.time_s, keys, damaged, restart, *first.size, first.rotation, source, lost)

    def write(self, path: Path) -> None:
        """Store as Parquet; ``read`` gives the same index back."""
        table = pa.table({name: getattr(self, name) for name in COLUMNS})
        facts = {name: str(getattr(self, name)) for name in FACTS}
        pq.write_table(table.replace_schema_metadata(facts), path)

    @classmethod
    def read(cls, path: Path) -> FrameIndex:
        """Load what ``write`` stored; raises BadVideo for an index of an earlier version."""
        table = pq.read_table(path)
        if not set(COLUMNS) <= set(table.column_names):
            raise BadVideo(f"{path.name}: an index of an earlier version; make the video's asset videos again")
        facts = {k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items()}
        pts, time_s, key, damaged, restart = (table.column(name).to_numpy(zero_copy_only=False) for name in COLUMNS)
        width, height, rotation, lost = (int(facts[n]) for n in ("width", "height", "rotation", "corrupt_packets"))
        return cls(pts, time_s, key, damaged, restart, width, height, rotation, facts["timing"], lost)


COLUMNS = ("pts", "time_s", "key", "damaged", "restart")
FACTS = ("width", "height", "rotation", "timing", "corrupt_packets")


def unstamped(container: InputContainer) -> bool:
    """Whether a format has no timestamps, a raw stream: FFmpeg makes some up, and does not find pictures by them."""
    return bool(container.format.flags & NO_STAMPS) or container.format.name.endswith("_pipe")


def _timing(container: InputContainer, stream: VideoStream, ticks: NDArray[np.int64]) -> tuple[Timing, str]:
    """Times of all frames and where they come from: stamps, rate or assumed."""
    slots = container.format.name == "avi"  # numbered in the order of decoding, at a declared rate
    rate = float(stream.guessed_rate or stream.average_rate or 0)
    timing = Timing.of(np.sort(ticks) if slots else ticks, float(stream.time_base or 0), rate)
    if unstamped(container) and not stream.codec_context.framerate:
        return timing, "assumed"
    return timing, "stamps" if timing.stamped and not slots else "rate"


def frames(path: Path, index: FrameIndex, start: int, end: int, step: int = 1) -> Iterator[Frame]:
    """Frames start, start+step ... below end, one at a time, each under its decode index.

    Seeks to the last seek point at or before ``start``. Raises BadVideo when the file gives other frames than its
    index says. Damaged frames are the same each time: one thread decodes a file that has any.
    """
    wanted, reformatter = start, VideoReformatter()
    for at, frame, display in _from(path, index, start):
        if at < wanted:
            continue
        if at != wanted or at >= end:
            break
        try:
            rgb = display.rgb(frame, reformatter)
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

    A frame is known by its timestamp where that is above all before and below all behind it, others are counted from
    there. A container without an index, such as MPEG-TS, may seek to behind the seek point: then from the one before.
    """
    clear = _clear(index.pts)
    where = {int(index.pts[i]): int(i) for i in np.flatnonzero(clear)}
    points = [
        int(point) for point in np.flatnonzero((index.key & clear & ~index.damaged)[: start + 1])[-SEEKS:] if point > 0
    ]
    for point in [*reversed(points), 0]:
        with opened(path, threads=index.sound) as (container, stream):
            if point > 0:
                container.seek(int(index.pts[point]), stream=stream, backward=True)
            found = _counted(decode(container, stream), index, where, None if point > 0 else -1)
            first = next((one for one in found if one[0] >= 0), None)
            if first is None or (first[0] > start and point > 0):
                continue
            yield first[0], first[1], Display.of(stream, first[1])
            yield from ((at, frame, Display.of(stream, frame)) for at, frame in found)
            return


def _counted(
    decoded: Iterator[VideoFrame], index: FrameIndex, where: Mapping[int, int], before: int | None
) -> Iterator[tuple[int, VideoFrame]]:
    """Frames with their index, -1 where it is not known; before: the index of the frame before the first, if known."""
    for frame in decoded:
        ticks = MISSING if frame.pts is None else int(frame.pts)
        follows = before is not None and before + 1 < len(index) and int(index.pts[before + 1]) == ticks
        at = before + 1 if before is not None and follows else where.get(ticks, -1)
        yield at, frame
        before = at if at >= 0 else None


def _clear(pts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which timestamps are above all before them and below all behind them."""
    later = np.where(pts == MISSING, np.iinfo(np.int64).max, pts)
    above = np.concatenate([[True], pts[1:] > np.maximum.accumulate(pts)[:-1]])
    below = np.concatenate([later[:-1] < np.minimum.accumulate(later[::-1])[::-1][1:], [True]])
    return above & below & (pts != MISSING)
