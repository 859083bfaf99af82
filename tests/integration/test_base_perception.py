"""Detections, masks and tracks on a rendered video: what they find against what is there."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pycocotools import mask as coco

from egoworld_resources.sample import SampleOptions, truth_folder
from egoworld_resources.sample.arrays import SampleTruth
from egoworld_runner import FrameIndex, clip_id, tables
from egoworld_runner.job import Job, Span, VideoJob
from tests.accuracy.sample_flow import rendered

BASE = Path(__file__).parents[2] / "envs" / "base"
INPUTS = {"detections": ("hand_poses",), "masks": ("hand_poses", "detections"), "tracks": ("masks",)}
OBJECTS = (3, 4)
HAND = 1
GAP = 4
"""Frames that motion is seen over, and one more."""
NEAR = 10
WIDE = SampleOptions(seed=11, seconds=6.0, width=480, height=270, fps=15, k1=-0.2)


@dataclass(frozen=True)
class Flow:
    """One clip, the stages that ran on it, and the truth."""

    folder: Path
    video: Path
    span: tuple[int, int]

    @property
    def clip(self) -> str:
        return clip_id("v", *self.span)

    def run(self, stage: str, output: str | None = None) -> None:
        declared = tomllib.loads((BASE / "pyproject.toml").read_text())["tool"]["egoworld"]["stages"][stage]
        inputs = {name: str(self.folder / name / self.clip) for name in INPUTS[stage]}
        out = self.folder / (output or stage)
        video = VideoJob(
            "v", str(self.video), str(out), str(self.folder / "frames.parquet"), inputs, (Span(*self.span),)
        )
        job = self.folder / f"{output or stage}.json"
        Job(stage, str(BASE), declared["runner"], (video,), params=declared["params"]).write(job)
        command = [sys.executable, "-I", "-m", "egoworld_runner", "run", "--job", str(job)]
        subprocess.run(command, check=True, capture_output=True)
        report = json.loads((out / self.clip / "clip.json").read_text())
        assert report["state"] == "done", report

    def rows(self, stage: str) -> list[dict[str, Any]]:
        return pq.read_table(self.folder / stage / self.clip / f"{stage}.parquet").to_pylist()

    def truth(self, table: str) -> list[dict[str, Any]]:
        found = pq.read_table(truth_folder(self.video) / f"{table}.parquet").to_pylist()
        return [row for row in found if self.span[0] <= row["frame"] < self.span[1]]


def with_true_hands(folder: Path, video: Path, half: int) -> Flow:
    """A shot of a sample, with the true joints as hand poses, through all stages."""
    index = FrameIndex.scan(video)
    index.write(folder / "frames.parquet")
    flow = Flow(folder, video, (half * len(index) // 2, (half + 1) * len(index) // 2))
    schema = tables.schema(tables.HandPose)
    poses = [
        dict.fromkeys(schema.names)
        | {"clip_id": flow.clip, "score": 0.9, "frame": row["frame"], "side": row["side"]}
        | {"keypoints_2d": row["keypoints_2d"]}
        for row in flow.truth("hand_poses")
    ]
    target = folder / "hand_poses" / flow.clip
    target.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(poses, schema=schema), target / "hand_poses.parquet")
    return flow


@pytest.fixture(scope="module")
def flow(small_sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Flow:
    """The second shot of a small sample."""
    flow = with_true_hands(tmp_path_factory.mktemp("flow"), small_sample, 1)
    for stage in INPUTS:
        flow.run(stage)
    return flow


def rle(row: dict[str, Any]) -> dict[str, Any]:
    return {"size": [row["height"], row["width"]], "counts": row["rle"].encode("ascii")}


def shared(rows: list[dict[str, Any]], truth: list[dict[str, Any]]) -> list[float]:
    """IoU of every true mask with the mask of the same frame, 0 where there is none."""
    found = {row["frame"]: row for row in rows}
    pairs = [(found.get(row["frame"]), row) for row in truth if row["area"] > 100]
    return [float(coco.iou([rle(one)], [rle(true)], [0])[0, 0]) if one else 0.0 for one, true in pairs]


def test_moving_object_and_hand_are_boxed(flow: Flow) -> None:
    boxes = {(row["frame"], row["obj_id"]): coco.toBbox(rle(row)) for row in flow.truth("masks")}
    found = flow.rows("detections")
    assert {row["label"] for row in found} == {"right hand", "object"}
    hits = []
    for row in found:
        ids = (HAND,) if row["label"] == "right hand" else OBJECTS
        x0, y0, x1, y1 = (row[name] for name in ("x0", "y0", "x1", "y1"))
        assert 0 <= x0 < x1 <= 480
        assert 0 <= y0 < y1 <= 270
        overlaps = [float(coco.iou(np.array([[x0, y0, x1 - x0, y1 - y0]]), boxes[row["frame"], n][None], [0])[0, 0])
                    for n in ids if (row["frame"], n) in boxes]  # fmt: skip
        hits.append((row["label"], max(overlaps, default=0.0)))
    objects = [overlap for label, overlap in hits if label == "object"]
    assert len(objects) >= 5
    assert np.mean(np.array(objects) > 0.3) >= 0.7
    assert np.median([overlap for label, overlap in hits if label == "right hand"]) >= 0.5


def test_masks_of_the_hand_and_of_the_object_hold_all_through_the_clip(flow: Flow) -> None:
    rows, truth = flow.rows("masks"), flow.truth("masks")
    hand = shared([row for row in rows if row["obj_id"] == 2], [row for row in truth if row["obj_id"] == HAND])
    thing = shared([row for row in rows if row["obj_id"] == 3], [row for row in truth if row["obj_id"] in OBJECTS])
    assert np.median(hand) >= 0.85
    assert np.median(thing) >= 0.75
    assert np.mean(np.array(thing) > 0.5) >= 0.85
    assert all(row["area"] == int(coco.area(rle(row))) for row in rows)
    assert [(row["frame"], row["obj_id"]) for row in rows] == sorted({(row["frame"], row["obj_id"]) for row in rows})


def at_rest(flow: Flow) -> tuple[range, range]:
    """Frames in which the object rests, before it is taken and after it was set down."""
    start, end = flow.span
    moves = start + np.flatnonzero(SampleTruth(truth_folder(flow.video)).moving[start:end])
    return range(start, int(moves[0])), range(int(moves[-1]) + 1, end)


def assert_found_at_rest(flow: Flow) -> None:
    """It is cut out in nine of ten frames before it is taken and after it was set down, and nothing else is."""
    things = [row for row in flow.rows("masks") if row["obj_id"] >= OBJECTS[0]]
    assert {row["obj_id"] for row in things} == {OBJECTS[0]}
    for rest in at_rest(flow):
        assert len(rest) >= 8
        true = [row for row in flow.truth("masks") if row["obj_id"] in OBJECTS and row["frame"] in rest]
        assert np.mean(np.array(shared(things, true)) > 0.5) >= 0.9


def test_an_object_at_rest_is_found_from_where_a_hand_takes_it_backwards_too(flow: Flow) -> None:
    """It is detected where it moves alone; the masks know it in the whole clip."""
    assert_found_at_rest(flow)
    before, after = at_rest(flow)
    boxes = [row["frame"] for row in flow.rows("detections") if row["label"] == "object"]
    assert min(boxes) > before[-1] - GAP
    assert max(boxes) < after[0] + GAP


def test_static_things_that_a_wide_lens_bends_at_the_border_are_no_objects(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A homography does not explain how they move in the picture; a dozen boxes, books and posters stand there."""
    flow = with_true_hands(tmp_path, rendered(tmp_path_factory.mktemp("wide"), WIDE), 0)
    flow.run("detections")
    flow.run("masks")
    assert_found_at_rest(flow)
    true = {row["frame"]: coco.toBbox(rle(row)) for row in flow.truth("masks") if row["obj_id"] in OBJECTS}
    for row in (row for row in flow.rows("detections") if row["label"] == "object"):
        x, y, width, height = true[row["frame"]]
        assert x - NEAR < (row["x0"] + row["x1"]) / 2 < x + width + NEAR
        assert y - NEAR < (row["y0"] + row["y1"]) / 2 < y + height + NEAR


def test_the_name_of_a_thing_goes_from_its_boxes_to_masks_and_tracks(flow: Flow, tmp_path: Path) -> None:
    """Boxes of the object under two names, the surer one in most frames: it is one thing."""
    named = Flow(tmp_path, flow.video, flow.span)
    for given in ("frames.parquet", "hand_poses"):
        (tmp_path / given).symlink_to(flow.folder / given)
    rows = flow.rows("detections")
    for number, row in enumerate(row for row in rows if row["label"] == "object"):
        row["label"] = "bowl" if number % 4 == 1 else "cup"
    boxes = tmp_path / "detections" / named.clip
    boxes.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=tables.schema(tables.Detection)), boxes / "detections.parquet")
    named.run("masks")
    named.run("tracks")
    masks, points = named.rows("masks"), named.rows("tracks")
    assert {row["label"] for row in masks if row["obj_id"] == 3} == {"cup"}
    assert {(row["obj_id"], row["label"]) for row in points} <= {(0, "")} | {(r["obj_id"], r["label"]) for r in masks}
    assert {(2, "right hand"), (3, "cup")} <= {(row["obj_id"], row["label"]) for row in points}


def test_tracks_stay_on_the_object(flow: Flow) -> None:
    """Points born on the object, taken along by its true pose, against where the tracks say they are."""
    cameras = {row["frame"]: row for row in flow.truth("reconstructions")}
    poses = {row["frame"]: row for row in flow.truth("object_poses")}
    tracks: dict[int, list[dict[str, Any]]] = {}
    for row in flow.rows("tracks"):
        tracks.setdefault(row["track_id"], []).append(row)
    errors: list[float] = []
    for points in tracks.values():
        frames = [point["frame"] for point in points]
        assert frames == list(range(frames[0], frames[-1] + 1))
        assert all(point["visible"] for point in points[:-1])
        if points[0]["obj_id"] == 3 and len(points) > 2:
            errors += drift(points, cameras, poses)
    assert len(errors) > 300
    assert np.median(errors) < 1.5
    assert np.percentile(errors, 90) < 6.0


def drift(points: list[dict[str, Any]], cameras: dict[int, Any], poses: dict[int, Any]) -> list[float]:
    first = points[0]
    pose = poses[first["frame"]]
    T = np.reshape(pose["T_camera_object"], (4, 4))
    ray = np.linalg.inv(calibration(cameras[first["frame"]])) @ [first["x"], first["y"], 1.0]
    eye, along, half = -T[:3, :3].T @ T[:3, 3], T[:3, :3].T @ ray, np.array(pose["size"]) / 2
    near, far = (
        np.minimum((-half - eye) / along, (half - eye) / along),
        np.maximum((-half - eye) / along, (half - eye) / along),
    )
    if near.max() > far.min():
        return []
    point = eye + near.max() * along
    errors = []
    for row in points[1:]:
        if row["visible"]:
            T = np.reshape(poses[row["frame"]]["T_camera_object"], (4, 4))
            u, v, w = calibration(cameras[row["frame"]]) @ (T[:3, :3] @ point + T[:3, 3])
            errors.append(float(np.hypot(u / w - row["x"], v / w - row["y"])))
    return errors


def calibration(camera: dict[str, Any]) -> np.ndarray:
    fx, fy, cx, cy = camera["intrinsics"]
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])


@pytest.mark.parametrize("stage", list(INPUTS))
def test_the_same_bytes_twice(flow: Flow, stage: str) -> None:
    flow.run(stage, output=f"{stage}-again")
    first, again = (flow.folder / name / flow.clip / f"{stage}.parquet" for name in (stage, f"{stage}-again"))
    assert first.read_bytes() == again.read_bytes()


def test_a_clip_without_hands_and_motion_has_empty_tables(tmp_path: Path, flow: Flow) -> None:
    empty = Flow(tmp_path, flow.video, (0, 6))
    FrameIndex.read(flow.folder / "frames.parquet").write(tmp_path / "frames.parquet")
    target = tmp_path / "hand_poses" / empty.clip
    target.mkdir(parents=True)
    pq.write_table(tables.schema(tables.HandPose).empty_table(), target / "hand_poses.parquet")
    for stage in INPUTS:
        empty.run(stage)
    assert empty.rows("masks") == []
    assert {row["obj_id"] for row in empty.rows("tracks")} == {0}
