"""Stage episodes on a made-up video whose every frame and every number is known."""

from __future__ import annotations

import importlib
import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from egoworld_resources.settings import PROJECT
from egoworld_runner import clip_id, tables
from egoworld_runner.lenses import Lens
from tests.made_artifacts import (
    JOINTS,
    MadeVideo,
    camera,
    declared_params,
    hand_points,
    joint_positions,
    level,
    make,
    only_turning,
    run_stage,
    write_table,
)

BASE = Path(__file__).parents[2] / "envs" / "base"
SMALL = {"width": 160, "height": 120}


def run(video: MadeVideo, output: Path, **params: Any) -> tuple[Path, dict[str, Any]]:
    given_params = {**declared_params(BASE / "pyproject.toml", "episodes"), **SMALL, **params}
    return run_stage(BASE, "episodes:LeRobotEpisodes", "episodes", video, output, given_params)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> MadeVideo:
    return make(tmp_path_factory.mktemp("video"))


@pytest.fixture(scope="module")
def dataset(video: MadeVideo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place, report = run(video, tmp_path_factory.mktemp("dataset"))
    assert report["state"] == "done", report
    assert report["notes"]["episodes"] == 2
    return place


def frames(dataset: Path) -> dict[str, np.ndarray]:
    table = pq.read_table(dataset / "data/chunk-000/file-000.parquet")
    return {name: np.array(table[name].to_pylist()) for name in table.column_names}


def nearest(video: MadeVideo, number: int, fps: int = 15) -> list[int]:
    """The frame nearest to each multiple of 1/fps, by looking at all of them."""
    start, end = video.clips[number]
    times = video.times[start:end]
    count = math.floor((times[-1] - times[0]) * fps + 1e-6) + 1
    return [start + int(np.abs(times - (times[0] + k / fps)).argmin()) for k in range(count)]


def test_every_number_is_that_of_the_nearest_frame(video: MadeVideo, dataset: Path) -> None:
    found = frames(dataset)
    wanted = [nearest(video, 0), nearest(video, 1)]
    assert np.bincount(found["episode_index"]).tolist() == [len(one) for one in wanted]
    assert found["index"].tolist() == list(range(len(wanted[0]) + len(wanted[1])))
    for number, chosen in enumerate(wanted):
        at = found["episode_index"] == number
        np.testing.assert_allclose(found["timestamp"][at], np.arange(len(chosen)) / 15, atol=1e-6)
        right = np.array([joint_positions(frame, "right") for frame in chosen])
        np.testing.assert_allclose(found["observation.state"][at][:, : len(JOINTS)], right, atol=1e-6)
        canvas = hand_points(chosen[3], "right", 160, 90) + np.array([0.0, 15.0])
        np.testing.assert_allclose(
            found["observation.hand.right.keypoints_2d"][at][3].reshape(21, 2), canvas, atol=1e-3
        )
    state = found["observation.state"][found["episode_index"] == 0]
    action = found["action"][found["episode_index"] == 0]
    np.testing.assert_array_equal(action, np.concatenate([state[1:], state[-1:]]))


def test_what_is_missing_is_held_and_flagged(video: MadeVideo, dataset: Path) -> None:
    found = frames(dataset)
    chosen = nearest(video, 0)
    held = [at for at, frame in enumerate(chosen) if frame % 10 == 9]
    assert held, "the test needs a frame without a left hand"
    for at in held:
        assert found["observation.hand.left.valid"][at] == 0
        assert found["observation.state.valid"][at].tolist() == [1, 0]
        before = joint_positions(chosen[at] - 1, "left")
        np.testing.assert_allclose(found["observation.state"][at][len(JOINTS) :], before, atol=1e-6)
    assert found["observation.state.valid"].mean() < 1
    unregistered = next(at for at, frame in enumerate(chosen) if frame % 7 == 6)
    assert found["observation.camera.valid"][unregistered] == 0
    pose = found["observation.camera.T_world_camera"][unregistered].reshape(4, 4)
    np.testing.assert_allclose(pose, camera(chosen[unregistered] - 1), atol=1e-6)
    assert found["observation.objects.valid"].tolist() == [[1, 0, 0]] * len(found["index"])
    assert all(np.isfinite(values).all() for values in found.values())


def test_a_consumer_projects_camera_points_to_their_pixels(dataset: Path) -> None:
    """With the model, the intrinsics and the distortion that the dataset names alone; without distortion it misses."""
    found = frames(dataset)
    rows = pq.read_table(dataset / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert {(row["egoworld/camera"], row["egoworld/camera_model"]) for row in rows} == {("moving", "OPENCV")}
    numbers = found["observation.camera.distortion"][0]
    lens = Lens(rows[0]["egoworld/camera_model"], tuple(found["observation.camera.intrinsics"][0]), tuple(numbers[:4]))
    points = np.array([[0.3, -0.2, 1.0], [-0.45, 0.25, 1.0], [0.0, 0.0, 2.0]])
    matrix = np.array([[160.0, 0, 80], [0, 160.0, 45], [0, 0, 1.0]])
    pixels, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), matrix, np.array([-0.1, 0.01, 0.0, 0.001]))
    row = rows[0]
    scale = np.array([row["egoworld/canvas_scale_x"], row["egoworld/canvas_scale_y"]])
    corner = np.array([row["egoworld/canvas_left"], row["egoworld/canvas_top"]])
    canvas = (pixels.reshape(-1, 2) + 0.5) * scale - 0.5 + corner
    assert np.abs(lens.project(points) - canvas).max() < 0.01
    assert np.abs(Lens("PINHOLE", lens.intrinsics).project(points) - canvas).max() > 1
    assert found["observation.camera.lens_valid"].all()
    assert (found["observation.camera.rotation_valid"] == found["observation.camera.valid"]).all()


def test_a_camera_that_only_turns_has_no_valid_place(tmp_path: Path) -> None:
    """Its rotation is there and marked as such; neither its place nor a lens that nothing showed counts as valid."""
    made = make(tmp_path / "in")
    only_turning(made)
    place, report = run(made, tmp_path / "out")
    assert report["state"] == "done", report
    found = frames(place)
    assert not found["observation.camera.valid"].any()
    assert not found["observation.camera.lens_valid"].any()
    assert found["observation.camera.rotation_valid"].mean() > 0.5
    episodes = pq.read_table(place / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert {(row["egoworld/camera"], row["egoworld/camera_model"]) for row in episodes} == {("rotation", "")}


def test_the_pictures_are_those_frames_letterboxed(video: MadeVideo, dataset: Path) -> None:
    chosen = [*nearest(video, 0), *nearest(video, 1)]
    with av.open(str(dataset / "videos/observation.images.ego/chunk-000/file-000.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height, stream.average_rate) == (160, 120, 15)
        decoded = list(container.decode(stream))
    assert [frame.time for frame in decoded] == pytest.approx([k / 15 for k in range(len(chosen))])
    assert decoded[0].key_frame
    assert decoded[len(nearest(video, 0))].key_frame
    for picture, frame in zip(decoded, chosen, strict=True):
        rgb = picture.to_ndarray(format="rgb24")
        assert abs(float(rgb[20:40, 60:].mean()) - level(frame)) < 4
        assert rgb[:13].max() < 24
        assert rgb[-13:].max() < 24


def test_the_metadata_says_where_everything_comes_from(video: MadeVideo, dataset: Path) -> None:
    info = json.loads((dataset / "meta/info.json").read_text(encoding="utf-8"))
    assert (info["codebase_version"], info["fps"], info["robot_type"]) == ("v3.0", 15, "generic_hand")
    names = [f"{side}.{joint}" for side in ("right", "left") for joint in JOINTS]
    assert info["features"]["action"]["names"] == info["features"]["observation.state"]["names"] == names
    rows = pq.read_table(dataset / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [row["egoworld/clip_id"] for row in rows] == [video.id(0), video.id(1)]
    assert [(row["egoworld/canvas_left"], row["egoworld/canvas_top"]) for row in rows] == [(0, 15)] * 2
    assert rows[1]["videos/observation.images.ego/from_timestamp"] == pytest.approx(rows[0]["length"] / 15)
    found = frames(dataset)
    for row in rows:
        part = found["action"][row["dataset_from_index"] : row["dataset_to_index"]]
        np.testing.assert_allclose(row["stats/action/mean"], part.mean(axis=0), atol=1e-6)
        np.testing.assert_allclose(row["stats/action/q50"], np.median(part, axis=0), atol=1e-6)
    stats = json.loads((dataset / "meta/stats.json").read_text(encoding="utf-8"))
    np.testing.assert_allclose(stats["action"]["std"], found["action"].std(axis=0), atol=1e-6)
    pictures = stats["observation.images.ego"]
    assert np.shape(pictures["mean"]) == (3, 1, 1)
    assert 0 <= pictures["min"][0][0][0] < pictures["mean"][0][0][0] < pictures["max"][0][0][0] <= 1


def test_the_same_inputs_give_the_same_bytes(video: MadeVideo, dataset: Path, tmp_path: Path) -> None:
    again, _ = run(video, tmp_path)
    names = [p.relative_to(dataset) for p in sorted(dataset.rglob("*")) if p.is_file() and p.name != "clip.json"]
    assert len(names) == 6
    assert all((dataset / name).read_bytes() == (again / name).read_bytes() for name in names)


def test_a_variable_frame_rate_becomes_constant(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    times = np.cumsum(rng.uniform(0.01, 0.12, 60)).tolist()
    made = make(tmp_path / "in", times=times)
    place, report = run(made, tmp_path / "out")
    assert report["state"] == "done", report
    found = frames(place)
    for number in (0, 1):
        chosen = nearest(made, number)
        state = found["observation.state"][found["episode_index"] == number]
        np.testing.assert_allclose(state[:, 0], [joint_positions(frame, "right")[0] for frame in chosen], atol=1e-6)


def test_a_clip_without_robot_gives_no_episode_and_none_at_all_gives_no_file(tmp_path: Path) -> None:
    made = make(tmp_path / "in", robot_clips=(1,))
    place, report = run(made, tmp_path / "out")
    assert (report["notes"]["episodes"], report["notes"]["clips_left_out"]) == (1, 1)
    rows = pq.read_table(place / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [row["egoworld/clip_id"] for row in rows] == [made.id(1)]
    bare = make(tmp_path / "bare", robot_clips=())
    place, report = run(bare, tmp_path / "none")
    assert report["state"] == "done"
    assert report["notes"]["episodes"] == 0
    assert "no rows in robot_trajectories" in report["notes"]["nothing"]
    assert sorted(p.name for p in place.rglob("*")) == ["clip.json"]


@pytest.mark.parametrize(("measured", "episodes"), [(14, 0), (15, 1)])
def test_an_episode_is_measured_in_half_of_its_frames_or_left_out(tmp_path: Path, measured: int, episodes: int) -> None:
    """Of the thirty frames of a clip; one row is no coverage."""
    made = make(tmp_path / "in", robot_clips=(1,))
    path = made.artifacts["robot_trajectories"] / "robot_trajectories.parquet"
    table, (start, end) = pq.read_table(path), made.clips[1]
    assert end - start == 30
    pq.write_table(table.filter(pc.less(table["frame"], start + measured)), path)
    _, report = run(made, tmp_path / "out")
    assert report["notes"]["episodes"] == episodes
    if not episodes:
        why = f"clip {made.id(1)[:8]}: robot_trajectories has rows in 47% of its frames (min_coverage is 0.5)"
        assert why in report["notes"]["nothing"]


def test_a_camera_counts_where_it_is_registered(tmp_path: Path) -> None:
    """Rows of frames that are not registered are no coverage of a required camera."""
    made = make(tmp_path / "in")
    path = made.artifacts["reconstructions"] / "reconstructions.parquet"
    table = pq.read_table(path)
    unregistered = pa.array([False] * len(table))
    pq.write_table(table.set_column(table.schema.get_field_index("registered"), "registered", unregistered), path)
    _, report = run(made, tmp_path / "out", require=["robot_trajectories", "reconstructions"])
    assert report["notes"]["episodes"] == 0
    assert "no rows in reconstructions" in report["notes"]["nothing"]


@pytest.mark.parametrize("kind", ["rotation", "static"])
def test_a_required_camera_has_a_place(tmp_path: Path, kind: str) -> None:
    """One that only turns has none, and the clip that lacks it is named; one that stands still is in one place."""
    made = make(tmp_path / "in")
    path = made.artifacts["reconstructions"] / "reconstructions.parquet"
    rows = pq.read_table(path).to_pylist()
    for row in rows:
        if row["clip_id"] == made.id(1) and row["registered"]:
            row["kind"] = kind
    pq.write_table(pa.Table.from_pylist(rows, schema=tables.schema(tables.CameraPose)), path)
    _, report = run(made, tmp_path / "out", require=["robot_trajectories", "reconstructions"])
    notes = report["notes"]
    if kind == "static":
        assert (notes["episodes"], notes["clips_left_out"], notes.get("left_out")) == (2, 0, None)
    else:
        assert (notes["episodes"], notes["clips_left_out"]) == (1, 1)
        assert f"clip {made.id(1)[:8]}: the camera only turns in " in notes["left_out"]
        assert "so its place is not known there" in notes["left_out"]


def test_without_requirements_and_optional_stages_the_pictures_remain(tmp_path: Path) -> None:
    made = make(tmp_path / "in", robot_clips=())
    few = {name: made.artifacts[name] for name in ("clips", "hand_poses")}
    place, report = run(MadeVideo(made.name, made.path, made.clips, made.times, few), tmp_path / "out", require=[])
    assert report["state"] == "done", report
    found = frames(place)
    assert "action" not in found
    assert not found["observation.camera.valid"].any()
    np.testing.assert_array_equal(found["observation.camera.T_world_camera"][0].reshape(4, 4), np.eye(4))


def test_one_hand_keeps_the_layout_of_two(tmp_path: Path) -> None:
    made = make(tmp_path / "in", robot_sides=("left",))
    place, _ = run(made, tmp_path / "out")
    info = json.loads((place / "meta/info.json").read_text(encoding="utf-8"))
    assert info["features"]["action"]["shape"] == [2 * len(JOINTS)]
    found = frames(place)
    assert not found["observation.state"][:, : len(JOINTS)].any()
    assert not found["observation.state.valid"][:, 0].any()


def test_two_robots_on_one_side_are_refused(tmp_path: Path) -> None:
    made = make(tmp_path / "in")
    cid = clip_id(made.name, *made.clips[0])
    rows = [(cid, tables.RobotPose(n, "right", robot, JOINTS, [0.0] * 4, 0.0)) for n, robot in enumerate(("a", "b"))]
    write_table(made.artifacts["robot_trajectories"], tables.RobotPose, rows)
    _, report = run(made, tmp_path / "out", min_coverage=0)
    assert report["state"] == "failed"
    assert "more than one joint layout (a (4 joints), b (4 joints))" in report["reason"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"fps": 0}, "fps is 0"),
        ({"fps": 12.5}, "fps is 12.5"),
        ({"width": 161}, "canvas 161x120 must be even"),
        ({"require": ["hands"]}, "require names hands; known: hand_poses"),
    ],
)
def test_a_bad_parameter_is_named(video: MadeVideo, tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    place, report = run(video, tmp_path, **change)
    assert report["state"] == "failed"
    assert reason in report["reason"]
    assert sorted(p.name for p in place.rglob("*")) == ["clip.json"]


@given(
    steps=st.lists(st.floats(0.004, 0.5), min_size=1, max_size=80),
    fps=st.integers(1, 60),
    start=st.integers(0, 5),
)
def test_the_grid_never_leaves_the_clip_nor_goes_back(steps: list[float], fps: int, start: int) -> None:
    import sys

    if str(BASE) not in sys.path:
        sys.path.append(str(BASE))
    grid = importlib.import_module("episode_values").grid
    times = np.concatenate([np.linspace(0, 1, start, endpoint=False), 1 + np.cumsum([0.0, *steps])])
    chosen = grid(times, start, len(times), fps)
    assert chosen[0] == start
    assert (np.diff(chosen) >= 0).all()
    assert chosen[-1] < len(times)
    wanted = times[start] + np.arange(len(chosen)) / fps
    best = np.abs(times[start:, None] - wanted).min(axis=0)
    np.testing.assert_allclose(np.abs(times[chosen] - wanted), best, atol=1e-6)


def test_the_ten_lines_of_the_readme_read_it(dataset: Path, tmp_path: Path) -> None:
    code = re.findall(r"```python\n(.*?)```", (PROJECT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)[0]
    assert len([line for line in code.splitlines() if line and "import" not in line]) <= 10
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dataset").symlink_to(dataset)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows, joints = done.stdout.splitlines()
    assert re.fullmatch(r"\d+ rows, \d+ with a right hand, 2 episodes", rows)
    assert joints.startswith("['right.")
