"""Cameras that are hard to follow, as generated samples with exact truth: the stage reconstructions alone.

The masks that it is given are the true ones, so that an error is the camera's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from egoworld_resources.environments.building.builder import EnvBuilder
from egoworld_resources.environments.catalog import Catalog
from egoworld_resources.sample import SampleOptions, load_truth, truth_errors, truth_folder
from egoworld_resources.sample.arrays import SampleTruth, matrices
from egoworld_runner import clip_id
from egoworld_runner.tables import MOVING, CameraPose, Mask
from tests.accuracy.figures import Figure
from tests.accuracy.object_motion import put
from tests.accuracy.sample_flow import rendered
from tests.made_clips import ModelEnvRuns

PLAIN = SampleOptions(seconds=6.0, width=480, height=270)
VARIANTS: Mapping[str, SampleOptions] = {
    "a head that turns about the neck": replace(PLAIN, head="turn"),
    "a rolling shutter": replace(PLAIN, readout=0.3),
    "blur": replace(PLAIN, exposure=0.4),
    "a wide lens": replace(PLAIN, k1=-0.15),
}
LOOKING = replace(PLAIN, head="look")
TURNS = "a camera that only turns"
Row = dict[str, Any]


def measure(data: Path, builder: EnvBuilder, catalog: Catalog, folder: Path) -> list[Figure]:
    """Path, rotation and focal length of each variant, two shots each; of a camera that only turns, that it is said."""
    options = {**VARIANTS, TURNS: LOOKING}
    videos, inputs, truths = {}, {}, {}
    for number, (name, asked) in enumerate(options.items()):
        video = f"variant{number}"
        path = rendered(folder / video, asked)
        spans = [(0, asked.shot_starts[1]), (asked.shot_starts[1], asked.frame_count)]
        videos[video], truths[name] = (path, spans), SampleTruth(truth_folder(path))
        inputs[video] = {"masks": put(folder / video / "masks", Mask, _masks(path, video, spans))}
    ran = ModelEnvRuns(builder, catalog, "pycolmap", CameraPose.table).run(folder / "run", videos, inputs)
    out: list[Figure] = []
    for name, (video, (_, spans)) in zip(options, videos.items(), strict=True):
        out += _figures(name, truths[name], [ran.rows(video, span) for span in spans])
    return out


def _masks(path: Path, video: str, spans: list[tuple[int, int]]) -> list[Row]:
    rows = load_truth(truth_folder(path), "masks")
    ids = {frame: clip_id(video, *span) for span in spans for frame in range(*span)}
    return [row | {"clip_id": ids[row["frame"]], "score": 1.0} for row in rows]


def _figures(name: str, truth: SampleTruth, clips: list[list[Row]]) -> list[Figure]:
    """One value for each shot."""
    measured = [_of_shot(truth, rows) for rows in clips]
    units = {"ATE": "%", "registered": "%", "rotation error": "deg", "focal length error": "%"}
    whats = ("registered", "rotation error") if name == TURNS else tuple(units)
    out = [Figure(CameraPose.table, name, what, tuple(one[what] for one in measured), units[what]) for what in whats]
    if name == TURNS:
        told = tuple(float(one["invented"]) for one in measured)
        out.append(Figure(CameraPose.table, name, "clips with an invented translation or lens", told, "clips"))
    return out


def _of_shot(truth: SampleTruth, rows: list[Row]) -> dict[str, float]:
    known = [row for row in rows if row["registered"]]
    frames = [row["frame"] for row in known]
    poses, true = matrices(known, "T_world_camera"), truth.t_world_camera[frames]
    moving = [row["kind"] == MOVING for row in known]
    turns = truth_errors.orientation_errors(poses[:, :3, :3], true[:, :3, :3])
    out = {"registered": 100 * len(known) / len(rows), "rotation error": float(np.sqrt(np.mean(turns**2)))}
    lens = next((row["intrinsics"] for row in known if row["intrinsics"] is not None), None)
    out["invented"] = any(moving) or bool(poses[:, :3, 3].any()) or lens is not None
    out["focal length error"] = np.nan if lens is None else float(100 * abs(lens[0] / truth.intrinsics[0, 0] - 1))
    if known and all(moving):
        length = truth_errors.path_length(true[:, :3, 3])
        out["ATE"] = 100 * truth_errors.trajectory_error(poses[:, :3, 3], true[:, :3, 3]) / length
    else:
        out["ATE"] = np.nan
    return out
