"""YOLOX in its own env: names and boxes of things in real videos, and weights that are missing or damaged."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from egoworld_resources.environments.building.builder import EnvBuilder
from egoworld_resources.environments.catalog import Catalog
from egoworld_resources.weights import ModelPaths, WeightsMissing, local_weights
from egoworld_runner import clip_id, tables
from made_clips import ModelEnvRuns, Ran
from made_videos import make_video

pytestmark = pytest.mark.env

WEIGHTS = "small-weights/yolox_nano_416.onnx"
COFFEE = "sam2/demo/data/gallery/04_coffee.mp4"
BEDROOM = "sam2/notebooks/videos/bedroom.mp4"
SPAN = (0, 12)
CUP = (798, 409, 972, 624)
"""Edges of the cup in the first frame of the coffee video, px, read off by eye."""
BED = (0, 272, 724, 540)
"""Edges of the bed in the first frame of the bedroom video."""


def iou(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(0.0, width) * max(0.0, height)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def edges(row: dict[str, float]) -> tuple[float, ...]:
    return row["x0"], row["y0"], row["x1"], row["y1"]


@pytest.fixture(scope="module")
def yolox(builder: EnvBuilder, catalog: Catalog) -> ModelEnvRuns:
    return ModelEnvRuns(builder, catalog, "yolox", "detections")


@pytest.fixture(scope="module")
def weights(shared_data: Path, catalog: Catalog, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The weights as a user has them: in the model home, verified."""
    declared = catalog.model("detections", "yolox").weights
    home = tmp_path_factory.mktemp("models")
    (home / "yolox").mkdir()
    shutil.copy(shared_data / WEIGHTS, home / declared[0].path)
    return local_weights(declared, Path("python"), paths=ModelPaths(home), env="yolox")


@pytest.fixture(scope="module")
def upright(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The coffee video in a narrow portrait picture, grey above and below."""
    capture = cv2.VideoCapture(str(shared_data / COFFEE))
    pictures = [np.full((1280, 720, 3), 90, np.uint8) for _ in range(4)]
    for picture in pictures:
        picture[400:805] = cv2.resize(capture.read()[1][..., ::-1], (720, 405), interpolation=cv2.INTER_AREA)
    return make_video(tmp_path_factory.mktemp("upright") / "upright.mp4", pictures)


@pytest.fixture(scope="module")
def hands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact with one hand, a right one in one frame of the coffee video."""
    folder = tmp_path_factory.mktemp("hands")
    joints = np.stack([np.linspace(600, 700, 21), np.linspace(400, 500, 21)], axis=1)
    schema = tables.schema(tables.HandPose)
    row = dict.fromkeys(schema.names) | {"clip_id": clip_id("coffee", *SPAN), "frame": 3, "side": "right", "score": 0.9}
    rows = [row | {"keypoints_2d": joints.reshape(-1).tolist()}]
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), folder / "hand_poses.parquet")
    return folder


@pytest.fixture(scope="module")
def ran(
    yolox: ModelEnvRuns,
    weights: dict[str, Path],
    shared_data: Path,
    upright: Path,
    hands: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Ran:
    videos = {"coffee": (shared_data / COFFEE, [SPAN]), "bedroom": (shared_data / BEDROOM, [SPAN])}
    videos["upright"] = (upright, [(0, 4)])
    inputs = {video: {"hand_poses": hands} for video in videos}
    return yolox.run(tmp_path_factory.mktemp("yolox"), videos, inputs, weights=weights)


def test_things_have_their_names_and_boxes(ran: Ran) -> None:
    assert ran.loads == 1
    for video, label, true in (("coffee", "cup", CUP), ("bedroom", "bed", BED)):
        rows = [row for row in ran.rows(video, SPAN) if row["label"] == label]
        assert {row["frame"] for row in rows} == set(range(*SPAN)), f"{label} in every frame, once"
        assert len(rows) == len(range(*SPAN))
        assert iou(edges(rows[0]), true) > 0.85
        assert all(0.3 <= row["score"] <= 1.0 for row in rows)


def test_no_two_boxes_stand_for_one_thing_and_nobody_is_an_object(ran: Ran) -> None:
    for video in ("coffee", "bedroom"):
        rows = [row for row in ran.rows(video, SPAN) if not row["label"].endswith("hand")]
        assert "person" not in {row["label"] for row in rows}
        pairs = [(a, b) for n, a in enumerate(rows) for b in rows[:n] if a["frame"] == b["frame"]]
        assert all(iou(edges(a), edges(b)) <= 0.46 for a, b in pairs)


def test_boxes_of_a_portrait_picture_are_where_the_thing_is(ran: Ran) -> None:
    """The picture fills the height of the network's input: boxes are brought back by the same scale."""
    cups = [edges(row) for row in ran.rows("upright", (0, 4)) if row["label"] == "cup"]
    scale = 720 / 1280
    true = (CUP[0] * scale, 400 + CUP[1] * scale, CUP[2] * scale, 400 + CUP[3] * scale)
    assert cups
    assert all(iou(cup, true) > 0.8 for cup in cups)


def test_hands_are_boxed_by_their_joints(ran: Ran) -> None:
    (hand,) = (row for row in ran.rows("coffee", SPAN) if row["label"] == "right hand")
    assert (hand["frame"], hand["score"]) == (3, 0.9)
    assert hand["x0"] < 600 < 700 < hand["x1"] < 760
    assert hand["y0"] < 400 < 500 < hand["y1"] < 560


def test_the_same_bytes_again_and_other_names_left_out(
    yolox: ModelEnvRuns, weights: dict[str, Path], shared_data: Path, hands: Path, ran: Ran, tmp_path: Path
) -> None:
    videos, inputs = {"coffee": (shared_data / COFFEE, [SPAN])}, {"coffee": {"hand_poses": hands}}
    again = yolox.run(tmp_path / "again", videos, inputs, weights=weights)
    assert again.table("coffee", SPAN).read_bytes() == ran.table("coffee", SPAN).read_bytes()
    less = yolox.run(tmp_path / "less", videos, inputs, weights=weights, leave_out=["cup"])
    labels = {row["label"] for row in less.rows("coffee", SPAN)}
    assert "cup" not in labels
    assert "person" in labels
    wrong = yolox.run(tmp_path / "wrong", videos, inputs, weights=weights, leave_out=["mug"])
    assert "'mug', which is no name of COCO" in wrong.report("coffee", SPAN)["reason"]


def test_missing_and_damaged_weights_are_said(
    weights: dict[str, Path], catalog: Catalog, shared_data: Path, tmp_path: Path
) -> None:
    declared = catalog.model("detections", "yolox").weights
    (file,) = declared
    with pytest.raises(WeightsMissing, match=rf"yolox_nano.*does not exist.*{file.sha256}.*{file.source}"):
        local_weights(declared, Path("python"), paths=ModelPaths(tmp_path), env="yolox")
    (tmp_path / "yolox").mkdir()
    spoiled = Path(shutil.copy(shared_data / WEIGHTS, tmp_path / file.path))
    spoiled.chmod(0o600)
    with spoiled.open("r+b") as opened:
        opened.seek(1000)
        opened.write(b"x")
    with pytest.raises(WeightsMissing, match=rf"yolox_nano.*has sha256.*fetch it again.*{file.source}"):
        local_weights(declared, Path("python"), paths=ModelPaths(tmp_path), env="yolox")
