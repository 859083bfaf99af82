"""Stage videos: what a file is, and the index of all its frames that later stages seek by."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from egoworld_runner import Clip, ClipFailed, FrameIndex, Inputs, Params, Runner, tables
from egoworld_runner.video import opened

BLOCK = 1 << 20


class Probe(Runner):
    """Reads a video's digest, container, codec, size, rate and damage; leaves frames.parquet beside the table."""

    writes = (tables.Video,)

    def run(self, clip: Clip, inputs: Inputs, params: Params) -> Iterator[tables.Row]:
        """One row. Raises ClipFailed for a picture posing as a video and for a file too damaged to trust."""
        index = clip.index
        with opened(clip.path) as (container, stream):
            declared = Declared.by(container, stream)
        refuse_cut_off(clip.path.name, index, declared, float(params["max_corrupt_share"]))
        refuse_short(clip.path.name, len(index), int(params["min_frames"]))
        refuse_damaged(clip.path.name, index.corrupt_packets, len(index), float(params["max_corrupt_share"]))
        sha256, size = digest(clip.path)
        with opened(clip.path) as (container, stream):
            name, codec = container.format.name, stream.codec_context.name
            pix_fmt = stream.codec_context.pix_fmt or "unknown"
            start = float(stream.start_time * stream.time_base) if stream.start_time and stream.time_base else 0.0
            rate = float(stream.average_rate or 0)
        index.write(clip.folder / "frames.parquet")
        seconds = float(index.time_s[-1])
        fps = index.fps or rate or 30.0
        yield tables.Video(
            sha256=sha256,
            bytes=size,
            container=name,
            codec=codec,
            pix_fmt=pix_fmt,
            width=index.width,
            height=index.height,
            rotation=index.rotation,
            frames=len(index),
            fps=fps,
            start_s=start,
            duration_s=seconds + 1.0 / fps,
            variable_frame_rate=index.variable,
            corrupt_packets=index.corrupt_packets,
        )
        clip.note("frames", len(index))
        clip.note("duration_s", round(seconds + 1.0 / fps, 3))
        clip.note("missing_s", round(max(0.0, declared.seconds - seconds - 1.0 / fps), 3) if declared.seconds else 0.0)
        clip.note("video_streams", declared.streams)
        clip.note("corrupt_packets", index.corrupt_packets)
        clip.progress(clip.end_frame - 1)


@dataclass(frozen=True)
class Declared:
    """What a file says of its first video stream before it is decoded; 0 where it says nothing."""

    frames: int
    seconds: float
    streams: int

    @classmethod
    def by(cls, container: InputContainer, stream: VideoStream) -> Declared:
        """Read the header; the container's duration stands in for a stream that declares none."""
        seconds = float((stream.duration or 0) * (stream.time_base or 0)) or (container.duration or 0) / av.time_base
        return cls(max(0, stream.frames), max(0.0, seconds), len(container.streams.video))


def refuse_cut_off(name: str, index: FrameIndex, declared: Declared, most: float) -> None:
    """Raise ClipFailed when more than the share ``most`` of what a file declares is not in it.

    A count of frames decides where there is one; a duration only from a second on, since sound may last longer.
    """
    there, missing = len(index), declared.frames - len(index)
    if missing > max(2, most * declared.frames):
        what = f"only {there} of {declared.frames} frames are in it"
    elif not declared.frames and index.exact:
        seconds = float(index.time_s[-1]) + (1.0 / index.fps if index.fps else 0.0)
        if declared.seconds - seconds <= max(1.0, most * declared.seconds):
            return
        what = f"only {seconds:.1f} of {declared.seconds:.1f} s are in it"
    else:
        return
    raise ClipFailed(f"{name}: cut off, {what}; copy the file again, or raise max_corrupt_share")


def refuse_short(name: str, frames: int, least: int) -> None:
    """Raise ClipFailed when a file holds fewer frames than can move."""
    if frames < least:
        noun = "frame" if frames == 1 else "frames"
        raise ClipFailed(f"{name}: only {frames} {noun}, at least {least} are needed; give a video, not a picture")


def refuse_damaged(name: str, corrupt: int, frames: int, most: float) -> None:
    """Raise ClipFailed when more than the share ``most`` of packets could not be decoded."""
    share = corrupt / (corrupt + frames)
    if share > most:
        raise ClipFailed(
            f"{name}: {corrupt} of {corrupt + frames} packets cannot be decoded ({share:.0%}, at most {most:.0%} are "
            f"accepted); copy the file again, or raise max_corrupt_share"
        )


def digest(path: Path) -> tuple[str, int]:
    """SHA-256 of a file in hexadecimal and its size in bytes, read in blocks."""
    whole, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            whole.update(block)
            size += len(block)
    return whole.hexdigest(), size
