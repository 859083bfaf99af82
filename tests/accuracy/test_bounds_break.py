"""A bound that cannot be broken guards nothing: results of the real models, spoilt a little, break theirs."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from egoworld_assets.quality.accuracy import MEASURES, Case
from egoworld_resources.artifacts.manifest import data_version, stored_files
from egoworld_resources.artifacts.stage import Draft
from egoworld_resources.making.workbench import Workbench
from egoworld_resources.sample.arrays import SampleTruth
from egoworld_resources.settings import Settings
from egoworld_runner import clip_id
from made_clips import Ran
from tests.accuracy import cuts, hands_by_eye
from tests.accuracy.bounds import broken
from tests.accuracy.everything import SHORT, SHORT_SAMPLE
from tests.accuracy.figures import of_samples
from tests.accuracy.sample_flow import SampleFlow

Change = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]


@dataclass
class Copy:
    """A copy of the flow's store in which one table can be replaced."""

    bench: Workbench
    video: str
    truth: SampleTruth
    scratch: Path

    def worse(self, stage: str, change: Change) -> str:
        """The bounds of a stage that break when its rows are changed."""
        store = self.bench.store
        made = store.current(stage, self.video)
        assert made is not None
        table = Draft(stage, store.folder(made), made.clips, {}).table()
        staged = self.scratch / stage
        shutil.copytree(store.folder(made), staged)
        for file in staged.rglob(f"{stage}.parquet"):
            file.unlink()
        changed = pa.Table.from_pylist(change(table.to_pylist()), schema=table.schema)
        pq.write_table(changed, staged / f"{stage}.parquet")
        files = stored_files(staged)
        store.put(staged, made.model_copy(update={"files": files, "data_version": data_version(files)}))
        return "\n".join(self.measured(stage))

    def measured(self, stage: str) -> list[str]:
        return broken(of_samples(SHORT_SAMPLE, [MEASURES[stage](Case(self.bench, self.video, self.truth))]))


@pytest.fixture(scope="module")
def truth(flow: SampleFlow) -> SampleTruth:
    """Read once: the room takes seconds to furnish."""
    return SampleTruth(next(iter(flow.truths.values())))


@pytest.fixture
def copy(flow: SampleFlow, truth: SampleTruth, tmp_path: Path) -> Copy:
    home = tmp_path / "home"
    shutil.copytree(flow.bench.layout.home, home, symlinks=True)
    return Copy(Workbench(Settings.load(home=home)), next(iter(flow.truths)), truth, tmp_path)


def each(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Change:
    return lambda rows: [row | change(row) for row in rows]


def shifted(points: list[float], px: float) -> list[float]:
    return (np.array(points) + px / np.sqrt(2)).tolist()


def other(side: str) -> str:
    return "left" if side == "right" else "right"


def turned(pose: list[float], degrees: float) -> list[float]:
    angle, out = np.radians(degrees), np.reshape(pose, (4, 4)).copy()
    out[:3, :3] = out[:3, :3] @ [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    return out.ravel().tolist()


def every_third_gone(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["frame"] % 3]


def zigzag(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every other camera a fiftieth of the way to one side."""
    poses = np.array([row["T_world_camera"] for row in rows]).reshape(-1, 4, 4)
    way = np.linalg.norm(np.ptp(poses[:, :3, 3], axis=0))
    poses[::2, 0, 3] += 0.02 * way
    return [row | {"T_world_camera": pose.ravel().tolist()} for row, pose in zip(rows, poses, strict=True)]


SPOILT: dict[str, tuple[str, Change, str]] = {
    "joints off by 10 px": (
        "hand_poses", each(lambda row: {"keypoints_2d": shifted(row["keypoints_2d"], 10)}), "keypoint error, mean"),
    "sides swapped": ("hand_poses", each(lambda row: {"side": other(row["side"])}), "wrong side"),
    "every third hand gone": ("hand_poses", every_third_gone, "the hand found, with its side"),
    "every third mask gone": ("masks", every_third_gone, "hand: mean IoU"),
    "tracks off by 3 px": (
        "tracks", each(lambda row: {"x": row["x"] + 3 * (row["frame"] % 2)}), "object: error, median"),
    "a zigzag of the camera": ("reconstructions", zigzag, "ATE"),
    "every third camera lost": (
        "reconstructions", each(lambda row: {"registered": row["registered"] and row["frame"] % 3 > 0}), "registered"),
    "focal length 5 % off": (
        "reconstructions", each(lambda row: {"intrinsics": [1.05 * v for v in row["intrinsics"]]}), "focal length"),
    "objects that shake by 20 degrees": (
        "object_poses", each(lambda row: {"T_camera_object": turned(row["T_camera_object"], 20 * (row["frame"] % 2))}),
        "rotation error, median"),
    "every third object pose gone": ("object_poses", every_third_gone, "has a pose"),
    "a joint beyond its limit": (
        "robot_trajectories", each(lambda row: {"positions": [9.0, *row["positions"][1:]]}), "joints outside"),
    "fingertips twice as far": (
        "robot_trajectories", each(lambda row: {"tip_error": 2 * row["tip_error"]}), "fingertip error"),
}  # fmt: skip


@pytest.mark.env
@pytest.mark.parametrize("spoilt", SPOILT)
def test_a_spoilt_result_breaks_its_bound(copy: Copy, spoilt: str) -> None:
    stage, change, what = SPOILT[spoilt]
    assert f"{stage}: {what}" in copy.worse(stage, change)


@pytest.mark.env
def test_an_unspoilt_copy_breaks_none(copy: Copy) -> None:
    for stage in MEASURES:
        assert copy.measured(stage) == []


@pytest.mark.env
def test_a_cut_one_frame_late_breaks_its_bound(copy: Copy) -> None:
    middle = SHORT.shot_starts[1]

    def late(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        moved = [row | {e: row[e] + (row[e] == middle) for e in ("start_frame", "end_frame")} for row in rows]
        return [row | {"clip_id": clip_id(copy.video, row["start_frame"], row["end_frame"])} for row in moved]

    worse = copy.worse("clips", late)
    assert "clips: cuts missed" in worse
    assert "clips: false cuts" in worse


def test_a_missed_cut_among_real_shots_breaks_its_bound(shared_data: Path, tmp_path: Path) -> None:
    _, true = cuts.joined(shared_data, tmp_path / "joined.mp4")
    assert broken([cuts.pooled(cuts.JOINED, cuts.ADAPTIVE, {"joined": set(true)}, set(true))]) == []
    assert broken([cuts.pooled(cuts.JOINED, cuts.ADAPTIVE, {"joined": set(true[1:])}, set(true))])


def test_three_missed_cuts_under_fast_motion_break_their_bound() -> None:
    """Of the twelve samples; what finds no cut at all once kept a bound of 0."""
    true = {cuts.FAST.shot_starts[1]}
    found = {str(seed): set(true) for seed in cuts.FAST_SEEDS}
    assert broken([cuts.pooled(cuts.FAST_DATA, cuts.ADAPTIVE, found, true)]) == []
    fewer = found | {"0": set(), "1": set(), "2": set()}
    assert broken([cuts.pooled(cuts.FAST_DATA, cuts.ADAPTIVE, fewer, true)])
    assert broken([cuts.pooled(cuts.FAST_DATA, cuts.ADAPTIVE, {seed: set() for seed in found}, true)])


@dataclass
class Spoilt(Ran):
    """What a model left, with every joint a tenth of a palm away or the sides swapped."""

    change: Callable[[dict[str, Any]], dict[str, Any]] = dict

    def rows(self, video: str, span: tuple[int, int]) -> list[dict[str, Any]]:
        return [row | self.change(row) for row in super().rows(video, span)]


@pytest.mark.env
@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda row: {"keypoints_2d": shifted(row["keypoints_2d"], 15)}, "keypoint error, mean, of the palm's length"),
        (lambda row: {"side": other(row["side"])}, "the hand found, with its side"),
    ],
)
def test_spoilt_hands_in_real_pictures_break_their_bounds(
    real_hands: Ran, change: Callable[[dict[str, Any]], dict[str, Any]], what: str
) -> None:
    spoilt = Spoilt(real_hands.stage, real_hands.folder, real_hands.loads, real_hands.log, real_hands.reports, change)
    assert what in "\n".join(broken(hands_by_eye.figures(spoilt)))
