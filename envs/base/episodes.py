"""Stage episodes: the clips of one video as a complete LeRobot v3.0 dataset, one episode per clip."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from ego_video import EgoVideo, Letterbox
from episode_values import ROBOT, JointLayout, features, grid, values_of_clip
from lerobot_v3 import DatasetFiles, video
from numpy.typing import NDArray

from egoworld_runner import Clip, ClipFailed, Inputs, Params, Runner, tables
from egoworld_runner.lerobot import VIDEO_KEY, video_file
from egoworld_runner.remarks import LEFT_OUT
from egoworld_runner.tables import MOVING, ROTATION, STATIC
from egoworld_runner.video import frames as decoded_frames

READS = (tables.HandPose, tables.CameraPose, tables.ObjectPose, tables.RobotPose)
MAY_REQUIRE = ("hand_poses", "masks", "tracks", "reconstructions", "object_poses", "robot_trajectories")
MOST_REASONS = 3

PLACED = pc.field("registered") & pc.field("kind").isin([MOVING, STATIC])
"""A camera has a place where it moves or stands still; one that only turns has none."""
MEASURED = {"reconstructions": (("registered", "kind"), PLACED), "tracks": (("visible",), pc.field("visible"))}
"""Tables with rows of frames in which nothing was measured: the columns that say so, and the rows where it was."""


class LeRobotEpisodes(Runner):
    """Pictures letterboxed onto one canvas and every number on one grid of constant frame rate.

    The state is the robot's joint positions (rad), right hand then left; the action of a frame is the state of the
    next one. A missing value is never NaN: the last one is held and its ``valid`` flag is 0. A clip in which an asset
    named in ``require`` was measured in less than ``min_coverage`` of the frames gives no episode; a camera that only
    turns has no place, so it is no required reconstruction. A video without any episode leaves no files, which a check
    reports.
    """

    writes = ()

    def run(self, clip: Clip, inputs: Inputs, params: Params) -> Iterator[tables.Row]:
        """Write ``data/``, ``videos/`` and ``meta/`` into the clip's folder. Raises ClipFailed on a bad parameter."""
        _check(params)
        spans = sorted(inputs.rows("clips"), key=lambda row: (row["start_frame"], row["end_frame"]))
        kept, left_out = _choose(spans, inputs, params["require"], float(params["min_coverage"]))
        fps = int(params["fps"])
        chosen = [(row, grid(clip.index.time_s, row["start_frame"], row["end_frame"], fps)) for row in kept]
        short = [row for row, frames in chosen if len(frames) < 2]
        chosen = [(row, frames) for row, frames in chosen if len(frames) >= 2]
        if chosen:
            self._write(clip, inputs, params, chosen)
        clip.note("episodes", len(chosen))
        clip.note("episode_frames", sum(len(frames) for _, frames in chosen))
        left_out += [f"clip {row['clip_id'][:8]} is shorter than two frames at {fps} fps" for row in short]
        clip.note("clips_left_out", len(left_out))
        if not chosen:
            clip.nothing(_few(left_out) or "the video has no clip")
        elif left_out:
            clip.note(LEFT_OUT, _few(left_out))
        yield from ()

    def _write(self, clip: Clip, inputs: Inputs, params: Params, chosen: Sequence[Any]) -> None:
        fps, max_objects = int(params["fps"]), int(params["max_objects"])
        letterbox = Letterbox.fit(clip.width, clip.height, int(params["width"]), int(params["height"]))
        layout = JointLayout.of(_robots(inputs))
        declared = {VIDEO_KEY: video(fps, letterbox.width, letterbox.height), **features(layout, max_objects)}
        declared = {name: feature for name, feature in declared.items() if feature["shape"] != [0]}
        files = DatasetFiles(clip.folder, declared, fps, layout.robot, str(params["task"]))
        held, total = 0.0, 0
        path = clip.folder / video_file()
        with EgoVideo(path, fps, letterbox, int(params["crf"]), int(params["keyframe_interval"])) as ego:
            for row, frames in chosen:
                span = (row["start_frame"], row["end_frame"])
                of_clip = {table.table: given_table(inputs.of_clip(row["clip_id"]), table) for table in READS}
                values = values_of_clip(of_clip, layout, letterbox, span, frames, max_objects)
                self._encode(clip, ego, frames)
                files.add(
                    {n: v for n, v in values.items() if n in declared},
                    ego.take_stats(),
                    {**_facts(clip, row, letterbox), **_camera_facts(of_clip[tables.CameraPose.table])},
                )
                held += float((values["observation.state.valid"].max(axis=1) == 0).sum())
                total += len(frames)
        files.close(ego.all_stats())
        clip.note("frames_with_held_state", round(held / total, 4))

    @staticmethod
    def _encode(clip: Clip, ego: EgoVideo, wanted: NDArray[np.int64]) -> None:
        """Give every wanted frame to the encoder; a frame may be wanted twice, or not at all."""
        repeats = dict(zip(*(part.tolist() for part in np.unique(wanted, return_counts=True)), strict=True))
        for frame in decoded_frames(clip.path, clip.index, int(wanted[0]), int(wanted[-1]) + 1):
            for _ in range(repeats.get(frame.index, 0)):
                ego.add(frame.rgb)
            clip.progress(frame.index)


def given_table(inputs: Inputs, row: type[tables.Row]) -> pa.Table:
    """The rows that are shown; none when an optional stage was not made."""
    return inputs.table(row.table) if row.table in inputs.artifacts else tables.schema(row).empty_table()


def _robots(inputs: Inputs) -> Iterator[pa.Table]:
    """Sides, robots and joint names of one clip after the other."""
    clips = inputs.clips("robot_trajectories") if "robot_trajectories" in inputs.artifacts else []
    for clip_id in clips:
        yield inputs.of_clip(clip_id).table("robot_trajectories", columns=ROBOT)


def _check(params: Params) -> None:
    if int(params["fps"]) < 1 or params["fps"] != int(params["fps"]):
        raise ClipFailed(f"params.episodes.fps is {params['fps']}; LeRobot needs a whole number of frames per second")
    if params["width"] % 2 or params["height"] % 2 or min(params["width"], params["height"]) < 16:
        raise ClipFailed(
            f"params.episodes: canvas {params['width']}x{params['height']} must be even and at least 16 px"
        )
    if not 0 <= params["min_coverage"] <= 1:
        raise ClipFailed(f"params.episodes.min_coverage is {params['min_coverage']}; it is a share from 0 to 1")
    unknown = sorted(set(params["require"]) - set(MAY_REQUIRE))
    if unknown:
        raise ClipFailed(f"params.episodes.require names {', '.join(unknown)}; known: {', '.join(MAY_REQUIRE)}")


def _choose(spans: Sequence[Any], inputs: Inputs, require: Sequence[str], least: float) -> tuple[list[Any], list[str]]:
    """Clips in which every required asset was measured in this share of the frames, and for the others why not."""
    kept, left_out = [], []
    for row in spans:
        shares = {name: _coverage(inputs, name, row) for name in require}
        short = [_lack(inputs, name, row, share) for name, share in shares.items() if share == 0 or share < least]
        if short:
            left_out.append(f"clip {row['clip_id'][:8]}: {', '.join(short)} (min_coverage is {least:g})")
        else:
            kept.append(row)
    return kept, left_out


def _lack(inputs: Inputs, name: str, span: Any, share: float) -> str:
    """What a clip lacks of a required asset."""
    if name == tables.CameraPose.table and name in inputs.artifacts:
        rows = inputs.of_clip(span["clip_id"]).table(name, columns=("registered", "kind"))
        turning = rows.filter(pc.field("registered") & (pc.field("kind") == ROTATION))
        turns = len(turning) / (span["end_frame"] - span["start_frame"])
        if turns:
            return f"the camera only turns in {turns:.0%} of its frames, so its place is not known there"
    return f"{name} has rows in {share:.0%} of its frames" if share else f"no rows in {name}"


def _few(reasons: Sequence[str]) -> str:
    """The first reasons, and how many more there are."""
    more = len(reasons) - MOST_REASONS
    return "; ".join([*reasons[:MOST_REASONS], *([f"and {more} more clips"] if more > 0 else [])])


def _camera_facts(cameras: pa.Table) -> dict[str, str]:
    """How a clip's camera moved and which model of lens its numbers belong to; empty where nothing is known."""
    kinds = cameras.filter(cameras["registered"])["kind"].unique().to_pylist()
    models = cameras["camera_model"].drop_null().unique().to_pylist()
    return {"egoworld/camera": next(iter(kinds), ""), "egoworld/camera_model": next(iter(models), "")}


def _coverage(inputs: Inputs, name: str, span: Any) -> float:
    """The share of a clip's frames in which an asset was measured."""
    if name not in inputs.artifacts:
        return 0.0
    columns, measured = MEASURED.get(name, ((), None))
    rows = inputs.of_clip(span["clip_id"]).table(name, columns=("frame", *columns))
    rows = rows if measured is None else rows.filter(measured)
    return len(rows["frame"].unique()) / (span["end_frame"] - span["start_frame"])


def _facts(clip: Clip, row: Any, letterbox: Letterbox) -> dict[str, Any]:
    """Where an episode comes from and how its pictures lie on the canvas; more columns than LeRobot asks for.

    A point x of the video lies at (x + 0.5) * canvas_scale_x - 0.5 + canvas_left of the canvas, px; y likewise.
    """
    return {
        "egoworld/video": clip.video,
        "egoworld/clip_id": row["clip_id"],
        "egoworld/start_frame": row["start_frame"],
        "egoworld/end_frame": row["end_frame"],
        "egoworld/start_s": row["start_s"],
        "egoworld/end_s": row["end_s"],
        "egoworld/canvas_scale_x": letterbox.scale_x,
        "egoworld/canvas_scale_y": letterbox.scale_y,
        "egoworld/canvas_left": letterbox.left,
        "egoworld/canvas_top": letterbox.top,
    }
