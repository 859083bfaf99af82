"""Retargeting of real hands: the recorded hands of HOT3D's sample on robot hands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from egoworld_resources.environments.building.builder import EnvBuilder
from egoworld_resources.environments.catalog import Catalog
from egoworld_runner import clip_id
from egoworld_runner.tables import HandPose, schema
from tests.accuracy.figures import Figure
from tests.accuracy.hot3d import Hot3d
from tests.made_clips import ModelEnvRuns
from tests.made_videos import counting

DATA = "HOT3D sample, recorded hands"
STEP_MS = 33
SHADOW = (
    "dex-urdf/robots/hands/shadow_hand/shadow_hand_right.urdf",
    "dex-retargeting/src/dex_retargeting/configs/offline/shadow_hand_right.yml",
)
ROBOTS = {"generic hand": ("", ""), "Shadow hand, by dex-retargeting's own offline settings": SHADOW}


def recorded_hands(recording: Hot3d, video: str, span: tuple[int, int]) -> list[dict[str, Any]]:
    """The recorded hands as rows of the hand_poses table."""
    names = schema(HandPose).names
    rows = [
        dict.fromkeys(names)
        | {"clip_id": clip_id(video, *span), "frame": frame, "side": side, "score": 1.0}
        | {"keypoints_2d": recording.pixels(joints[frame]).ravel().tolist()}
        | {"keypoints_3d": joints[frame].ravel().tolist()}
        for side, joints in recording.hands().items()
        for frame in range(*span)
    ]
    return sorted(rows, key=lambda row: (row["frame"], row["side"]))


def measure(data: Path, builder: EnvBuilder, catalog: Catalog, folder: Path, robots: int = len(ROBOTS)) -> list[Figure]:
    """The fingertip error on the first few of the robots, mm."""
    recording = Hot3d.of(data)
    span = (0, len(recording.times))
    poses = folder / "hand_poses"
    poses.mkdir(parents=True)
    video = counting(folder / "recording.mp4", span[1], [STEP_MS * n for n in range(span[1])])
    rows = recorded_hands(recording, "hot3d", span)
    pq.write_table(pa.Table.from_pylist(rows, schema=schema(HandPose)), poses / "hand_poses.parquet")
    runs = ModelEnvRuns(builder, catalog, "dex_retarget", "robot_trajectories")
    figures: list[Figure] = []
    for number, (robot, (urdf, config)) in enumerate(list(ROBOTS.items())[:robots]):
        given = {"urdf": str(data / urdf), "config": str(data / config)} if urdf else {}
        videos = {"hot3d": (video, [span])}
        found = runs.run(folder / str(number), videos, {"hot3d": {"hand_poses": poses}}, **given).rows("hot3d", span)
        assert len(found) == len(rows), f"{len(found)} robot poses of {len(rows)} hands"
        error = 1000 * float(np.mean([row["tip_error"] for row in found]))
        figures.append(Figure("robot_trajectories", DATA, f"fingertip error, mean, {robot}", (error,), "mm"))
    return figures
