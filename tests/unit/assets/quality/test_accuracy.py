"""Artifacts made from the truth have no error, and artifacts with a known error show just that one."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from egoworld_assets.quality.accuracy import Measurement, accuracy_of, accuracy_table, sample_truth
from egoworld_resources.artifacts.manifest import ClipReport, Verdict
from egoworld_resources.inbox.arrivals import Arrivals
from egoworld_resources.sample import SampleOptions, decode_mask, render, truth_errors
from egoworld_resources.sample.arrays import SampleTruth
from egoworld_runner import clip_id, tables
from tests.made_truth import FRAMES, KINDS, SCALE, SIZE, STAGES, Made, encoded

Rows = list[tuple[str, Any]]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real sample of two short shots, in the folder that `egoworld demo` uses."""
    home = tmp_path_factory.mktemp("home")
    (home / "sample").mkdir()
    options = SampleOptions(seed=3, seconds=FRAMES / 8, fps=8, width=SIZE[0], height=SIZE[1], workers=1)
    render(home / "sample" / "short.mp4", options)
    return home


@pytest.fixture(scope="module")
def whole(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """All true artifacts; tests that change something take `made`."""
    made = Made(sample, tmp_path_factory.mktemp("scratch"))
    made.publish()
    return made


@pytest.fixture(scope="module")
def unchanged(whole: Made) -> list[Measurement]:
    """What is measured on the true artifacts."""
    return accuracy_of(whole.bench, whole.video, whole.folder)


@pytest.fixture
def made(whole: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """The same with a store of its own and the room, which takes seconds to furnish, remembered."""
    shutil.copytree(whole.bench.layout.home, tmp_path / "home")
    monkeypatch.setattr(SampleTruth, "room", whole.truth.room)
    return Made(tmp_path / "home", whole.scratch)


def test_the_truth_has_no_error(unchanged: list[Measurement]) -> None:
    found = {(m.stage, m.what): m for m in unchanged}
    assert list(dict.fromkeys(stage for stage, _ in found)) == list(STAGES)
    assert all(m.ok for m in found.values() if m.goal is not None)
    wanted = {"cuts": 1.0, "IoU": 1.0, "found": 100.0, "registered": 100.0, "has": 100.0, "fingertip": 4.0}
    for (stage, what), m in found.items():
        value = next((v for word, v in wanted.items() if word in what and not what.startswith("a ")), 0.0)
        value = 0.0 if what in ("cuts missed", "false cuts") else value
        assert m.value == pytest.approx(value, abs=2e-3), (stage, what, m.detail)


def test_points_of_both_kinds_are_followed(unchanged: list[Measurement]) -> None:
    counts = [int(m.detail.split()[0]) for m in unchanged if m.what.endswith(": error, median")]
    assert len(counts) == 2
    assert min(counts) >= 30, counts


def test_a_cut_one_frame_late_is_missed_and_one_too_many(made: Made) -> None:
    spans = [(0, 9), (9, 16)]
    rows = [tables.ClipSpan(s, e, s / 8, e / 8, n, 1.0, *SIZE, 8.0) for n, (s, e) in enumerate(spans)]
    made.put(tables.ClipSpan, [(clip_id(made.video, *s), r) for s, r in zip(spans, rows, strict=True)])
    found = made.measure()
    values = {what: m.value for (stage, what), m in found.items() if stage == "clips"}
    assert values == {"cuts found at the exact frame": 0, "cuts missed": 1, "false cuts": 1}
    assert found["clips", "cuts missed"].ok is False
    assert found["clips", "cuts missed"].detail == "true cuts at [8], found at [9]"


def test_hands_off_by_a_known_part_of_their_size(made: Made) -> None:
    def shifted(row: tables.HandPose) -> tables.HandPose:
        points = np.reshape(row.keypoints_2d, (21, 2))
        return replace(row, keypoints_2d=points + np.array([0.1 * truth_errors.box_diagonal(points), 0]))

    made.changed(tables.HandPose, shifted)
    assert made.value("hand_poses", "keypoint error, mean") == pytest.approx(10, abs=1e-3)
    assert made.value("hand_poses", "keypoint error, median") == pytest.approx(10, abs=1e-3)
    assert made.value("hand_poses", "the hand found, with its side") == 100


def test_hands_of_the_wrong_side_missing_and_too_many(made: Made) -> None:
    rows = [row for _, row in made.true_rows(tables.HandPose)]
    assert len(rows) >= 6
    frames = [row.frame for row in rows]
    wrong, missing, second = frames[0], frames[1], frames[2]
    changed = [replace(r, side="left") if r.frame == wrong else r for r in rows if r.frame != missing]
    far = {"side": "left", "keypoints_2d": np.zeros((21, 2))}
    free = next(f for f in made.truth.frames if f not in made.truth.hands and f not in made.truth.masks["hand"])
    changed += [replace(r, **far) for r in rows if r.frame == second]
    changed.append(replace(rows[0], frame=free))
    made.put(tables.HandPose, [(made.clip(row.frame), row) for row in changed])
    count = len(rows)
    assert made.value("hand_poses", "the hand found, with its side") == pytest.approx(100 * (count - 2) / count)
    assert made.value("hand_poses", "wrong side") == pytest.approx(100 / (count - 1))
    assert made.value("hand_poses", "a second hand that does not exist") == pytest.approx(100 / count)
    assert made.value("hand_poses", "a hand where none is") > 0


def test_masks_that_cover_half_and_masks_that_are_not_there(made: Made) -> None:
    def upper_half(row: tables.Mask) -> tables.Mask | None:
        if row.obj_id == 2:
            return None if row.frame % 2 else row
        picture = decode_mask(asdict(row))
        ys, xs = np.nonzero(picture)
        picture[ys[len(ys) // 2 :], xs[len(xs) // 2 :]] = False
        return replace(row, rle=encoded(picture))

    made.changed(tables.Mask, upper_half)
    found = made.measure()
    assert made.value("masks", "object: mean IoU") == pytest.approx(0.5, abs=0.02)
    assert made.value("masks", "object while it moves: mean IoU") == pytest.approx(0.5, abs=0.02)
    even = np.mean([frame % 2 == 0 for frame in made.truth.hands])
    assert found["masks", "hand: mean IoU"].value == pytest.approx(even)
    assert found["masks", "hand: has a mask"].value == pytest.approx(100 * even)
    assert found["masks", "hand: mean IoU"].detail.endswith("1 where there is one")


def test_the_object_moves_in_some_frames_only(made: Made) -> None:
    moving = made.truth.moving
    assert 0 < moving.sum() < FRAMES
    assert not moving[[0, 7, 8, 15]].any()


def test_tracks_that_slip_by_a_known_distance(made: Made) -> None:
    def slipped(row: tables.TrackPoint) -> tables.TrackPoint:
        first = row.frame in (0, 8)
        return row if first else replace(row, x=row.x + 3, y=row.y + 4)

    made.changed(tables.TrackPoint, slipped)
    for name in ("object", "background"):
        assert made.value("tracks", f"{name}: error, median") == pytest.approx(5, abs=1e-3)
        assert made.value("tracks", f"{name}: error, 90th percentile") == pytest.approx(5, abs=1e-3)


def test_points_that_stay_on_the_picture_are_wrong_on_what_moves(made: Made) -> None:
    at: dict[tuple[str, int], tuple[float, float]] = {}
    rows = made.true_rows(tables.TrackPoint)
    still = [
        (c, replace(r, **dict(zip("xy", at.setdefault((c, r.track_id), (r.x, r.y)), strict=True)))) for c, r in rows
    ]
    made.put(tables.TrackPoint, still)
    assert made.value("tracks", "object: error, median") > 1
    assert made.value("tracks", "background: error, median") > 1


def test_a_sample_of_another_renderer_has_no_known_background(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    about = made.folder / "truth.json"
    about.write_text(json.dumps({**json.loads(about.read_text()), "renderer": "older"}))
    found = made.measure()
    assert found["tracks", "background: error, median"].value is None
    assert "another version" in found["tracks", "background: error, median"].detail
    assert found["tracks", "object: error, median"].value == pytest.approx(0, abs=1e-3)


def test_cameras_that_err(made: Made) -> None:
    def drifted(row: tables.CameraPose) -> tables.CameraPose:
        pose = np.array(row.T_world_camera)
        if row.frame < 8:
            pose[2, 3] += (1 if row.frame % 2 else -1) * 0.05 / SCALE
        values = np.array(row.intrinsics) * [1.1, 1.1, 1, 1]
        return replace(row, T_world_camera=pose, intrinsics=values, registered=row.frame < 14)

    made.changed(tables.CameraPose, drifted)
    found = {what: m for (stage, what), m in made.measure().items() if stage == "reconstructions"}
    first, second = found["ATE, frames 0 to 7"], found["ATE, frames 8 to 15"]
    length = truth_errors.path_length(made.truth.t_world_camera[:8, :3, 3])
    assert first.value is not None
    assert 0.5 < first.value / (100 * 0.05 / length) <= 1.0, "an alignment can only take from a 5 cm zigzag"
    assert (first.ok, second.ok) == (False, True)
    assert found["registered, frames 8 to 15"].value == 75
    assert found["focal length error, frames 0 to 7"].value == pytest.approx(10)


def test_too_few_cameras_are_not_aligned(made: Made) -> None:
    made.changed(tables.CameraPose, lambda row: replace(row, registered=row.frame % 8 < 2))
    found = made.measure()
    ate = found["reconstructions", "ATE, frames 0 to 7"]
    assert (ate.value, ate.ok) == (None, None)
    assert "2 frames registered" in ate.detail
    turn = found["object_poses", "rotation error, frames 0 to 7, median"]
    assert turn.value is None
    assert "needs 3 or more pairs" in turn.detail


def test_object_poses_that_tilt_and_jump(made: Made) -> None:
    angle = np.radians(2)
    tilt = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])

    def wrong(row: tables.ObjectPose) -> tables.ObjectPose | None:
        """Turned about the object's centre by 2 degrees to and fro, 5 mm nearer and farther than it is."""
        if row.frame % 8 in (6, 7):
            return None
        sign = 1 if row.frame % 2 else -1
        pose = made.truth.t_camera_object[row.frame].copy()
        pose[:3, :3] = pose[:3, :3] @ (tilt if sign > 0 else tilt.T)
        pose[:3, 3] = (pose[:3, 3] + [0, 0, sign * 0.005]) / SCALE
        return replace(row, T_camera_object=pose)

    made.changed(tables.ObjectPose, wrong)
    assert made.value("object_poses", "rotation error, frames 0 to 7, median") == pytest.approx(2, abs=1e-4)
    assert made.value("object_poses", "translation error, frames 8 to 15, median") == pytest.approx(5, rel=0.05)
    assert made.value("object_poses", "has a pose, frames 0 to 7") == 75


def test_a_joint_beyond_its_limit_fails_the_goal(made: Made) -> None:
    made.changed(tables.RobotPose, lambda row: replace(row, positions=[1.6 if row.frame < 4 else 0.0]))
    found = made.measure()["robot_trajectories", "joints outside their limits"]
    assert (found.value, found.ok) == (25.0, False)
    assert found.detail.startswith("of 16 joint positions")


def test_what_is_not_there_is_said(made: Made) -> None:
    store, video = made.bench.store, made.video
    shutil.rmtree(store.root / "artifacts" / "tracks")
    store.record("failures", f"hand_poses/{video}", {"reason": "the model crashed", "fingerprint": "0"})
    bad = Verdict(check="masks_not_empty", passed=False, reason="3 masks are empty")
    made.put(tables.Mask, made.true_rows(tables.Mask), checks=[bad])
    made.put(tables.CameraPose, made.true_rows(tables.CameraPose), source={"sha256": "other"})
    current = store.current("robot_trajectories", video)
    assert current is not None
    (store.folder(current) / "robot_trajectories.parquet").write_bytes(b"half")
    found = made.measure()
    details = {stage: found[stage, "not measured"].detail for stage in STAGES if (stage, "not measured") in found}
    assert details["tracks"] == "it has not been made"
    assert details["hand_poses"] == "failed: the model crashed"
    assert details["masks"] == "quarantined: masks_not_empty: 3 masks are empty"
    assert "other bytes" in details["reconstructions"]
    assert "is damaged" in details["robot_trajectories"]
    assert all(m.value is None and m.ok is None for (_, what), m in found.items() if what == "not measured")
    assert found["object_poses", "rotation error, frames 0 to 7, median"].value is None


def test_without_clips_nothing_is_measured(made: Made) -> None:
    shutil.rmtree(made.bench.store.root / "artifacts" / "clips")
    found = made.measure()
    assert set(found) == {(stage, "not measured") for stage in STAGES}
    assert found["tracks", "not measured"].detail == "clips: it has not been made"


def test_empty_tables_are_measured(made: Made) -> None:
    for kind in KINDS[1:]:
        made.put(kind, [])
    found = made.measure()
    assert found["hand_poses", "the hand found, with its side"].value == 0
    assert found["masks", "object: mean IoU"].value == 0
    assert found["tracks", "object: error, median"].value is None
    assert found["reconstructions", "registered, frames 0 to 7"].value == 0
    assert found["object_poses", "has a pose, frames 0 to 7"].value == 0


def test_a_failed_clip_is_named(made: Made) -> None:
    clips = [ClipReport(unit="a", state="done"), ClipReport(unit="b", state="failed", reason="too dark")]
    made.put(tables.HandPose, made.true_rows(tables.HandPose), clips=clips)
    found = made.measure()["hand_poses", "clips that failed"]
    assert (found.value, found.ok, found.detail) == (50, False, "too dark")


def test_measurements_are_json_and_a_table(unchanged: list[Measurement]) -> None:
    found = unchanged
    back = [Measurement(**entry) for entry in json.loads(json.dumps([asdict(m) for m in found], allow_nan=False))]
    assert back == found
    console = Console(width=200, record=True, file=StringIO())
    console.print(accuracy_table(found))
    text = console.export_text()
    assert "at most 2 %" in text
    assert all(stage in text for stage in STAGES)


def test_the_truth_is_found_by_the_bytes_of_the_video(made: Made, tmp_path: Path) -> None:
    assert sample_truth(made.bench, made.video) == made.folder
    other = tmp_path / "other.mp4"
    other.write_bytes(b"something else")
    assert sample_truth(made.bench, Arrivals(made.bench.store).take(other).video) is None
    assert sample_truth(made.bench, "nobody") is None
