"""Stage videos: what a file is, and the index of all its frames that later stages seek by."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from camera_names import NamedCamera
from completeness import Whole

from egoworld_runner import Clip, ClipFailed, Inputs, Params, Runner, tables
from egoworld_runner.video import opened

BLOCK = 1 << 20


class Probe(Runner):
    """Reads a video's digest, container, codec, size, rate and damage; leaves frames.parquet beside the table."""

    writes = (tables.Video,)

    def run(self, clip: Clip, inputs: Inputs, params: Params) -> Iterator[tables.Row]:
        """One row. Raises ClipFailed for a picture posing as a video and for a file too damaged to trust."""
        index = clip.index
        whole = Whole.of(clip.path)
        whole.refuse_cut_off(clip.path.name, float(params["max_corrupt_share"]))
        refuse_short(clip.path.name, len(index), int(params["min_frames"]))
        damaged = int(index.damaged.sum())
        refuse_damaged(clip.path.name, index.corrupt_packets, damaged, len(index), float(params["max_damaged_share"]))
        sha256, size = digest(clip.path)
        with opened(clip.path) as (container, stream):
            name, codec = container.format.name, stream.codec_context.name
            pix_fmt = stream.codec_context.pix_fmt or "unknown"
            start = float(stream.start_time * stream.time_base) if stream.start_time and stream.time_base else 0.0
            camera = NamedCamera.of(container.metadata, stream.metadata)
            rate, streams = float(stream.average_rate or 0), len(container.streams.video)
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
            damaged_frames=damaged,
            timing=index.timing,
            camera=camera.name,
            focal_35mm=camera.focal_35mm,
        )
        clip.note("frames", len(index))
        clip.note("duration_s", round(seconds + 1.0 / fps, 3))
        clip.note("missing_s", round(whole.missing_s, 3))
        clip.note("video_streams", streams)
        clip.note("corrupt_packets", index.corrupt_packets)
        clip.note("damaged_frames", damaged)
        clip.note("timing", index.timing)
        clip.note("camera", camera.name or "not named")
        clip.progress(clip.end_frame - 1)


def refuse_short(name: str, frames: int, least: int) -> None:
    """Raise ClipFailed when a file holds fewer frames than can move."""
    if frames < least:
        noun = "frame" if frames == 1 else "frames"
        raise ClipFailed(f"{name}: only {frames} {noun}, at least {least} are needed; give a video, not a picture")


def refuse_damaged(name: str, lost: int, damaged: int, frames: int, most: float) -> None:
    """Raise ClipFailed when more than the share ``most`` of a file's pictures are lost or not as they were filmed."""
    share = (lost + damaged) / (lost + frames)
    if share > most:
        raise ClipFailed(
            f"{name}: {lost + damaged} of {lost + frames} pictures are damaged ({share:.0%}, at most {most:.0%} are "
            f"accepted); copy the file again, or raise max_damaged_share"
        )


def digest(path: Path) -> tuple[str, int]:
    """SHA-256 of a file in hexadecimal and its size in bytes, read in blocks."""
    whole, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            whole.update(block)
            size += len(block)
    return whole.hexdigest(), size
