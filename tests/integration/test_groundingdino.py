"""Grounding DINO's real loading and inference code on a small model with random weights: what it sees means nothing,
how it is read, asked, cut and written is what counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from egoworld_resources.environments.building.builder import EnvBuilder
from egoworld_resources.environments.catalog import Catalog
from egoworld_resources.weights import ModelPaths, WeightsMissing, local_weights
from egoworld_runner import clip_id, tables
from egoworld_runner.video import FrameIndex, frames
from made_clips import ModelEnvRuns, Ran
from made_videos import make_video, of_squares
from made_vision import call

pytestmark = pytest.mark.env

NAMES = ["cup", "toy block", "bottle"]
SIZE = (96, 128)
"""Height and width of the made pictures, px."""
SPAN, PART = (0, 30), (10, 25)
EVERY_S = 0.6
KEYFRAMES = {SPAN: [0, 15], PART: [10]}
HAND_AT = 3
OVERLAP = 0.1
ASKED = {"names": NAMES, "every_s": EVERY_S, "max_overlap": OVERLAP}
Videos = Mapping[str, tuple[Path, list[tuple[int, int]]]]


@pytest.fixture(scope="module")
def model(builder: EnvBuilder, catalog: Catalog) -> ModelEnvRuns:
    return ModelEnvRuns(builder, catalog, "groundingdino", "detections")


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Videos:
    folder = tmp_path_factory.mktemp("videos")
    spans = {"first": [SPAN, PART], "second": [SPAN]}
    return {
        name: (make_video(folder / f"{name}.mp4", of_squares(n, 30, SIZE)), spans[name]) for n, name in enumerate(spans)
    }


@pytest.fixture(scope="module")
def hands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact with one right hand, in one frame of the first video."""
    folder = tmp_path_factory.mktemp("hands")
    joints = np.stack([np.linspace(40, 70, 21), np.linspace(30, 60, 21)], axis=1)
    schema = tables.schema(tables.HandPose)
    row = dict.fromkeys(schema.names) | {"clip_id": clip_id("first", *SPAN), "frame": HAND_AT, "side": "right"}
    rows = [row | {"score": 0.9, "keypoints_2d": joints.reshape(-1).tolist()}]
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), folder / "hand_poses.parquet")
    return folder


@dataclass(frozen=True)
class Bare:
    """A saved model, and what it sees in the first frame of the first video when nothing of ours is between."""

    weights: dict[str, Path]
    boxes: list[list[float]]
    scores: list[float]


@pytest.fixture(scope="module")
def bare(model: ModelEnvRuns, videos: Videos, tmp_path_factory: pytest.TempPathFactory) -> Bare:
    folder = tmp_path_factory.mktemp("model")
    path = videos["first"][0]
    (first,) = frames(path, FrameIndex.scan(path), 0, 1)
    np.save(folder / "first.npy", first.rgb)
    python = model.builder.ensure("groundingdino").python
    saved = folder / "grounding-dino-tiny"
    said = call(python, "grounding_dino", folder=saved, picture=folder / "first.npy", names=NAMES, threshold=0.35)
    return Bare({"grounding_dino": saved}, said["boxes"], said["scores"])


@pytest.fixture(scope="module")
def ran(model: ModelEnvRuns, videos: Videos, hands: Path, bare: Bare, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    inputs = {name: {"hand_poses": hands} for name in videos}
    folder = tmp_path_factory.mktemp("ran")
    return model.run(folder, videos, inputs, bare.weights, **ASKED)


def objects(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [row for row in rows if not row["label"].endswith("hand")]


def edges(row: Mapping[str, Any]) -> list[float]:
    return [row[edge] for edge in ("x0", "y0", "x1", "y1")]


def iou(a: Sequence[float], b: Sequence[float]) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(0.0, width) * max(0.0, height)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def test_boxes_are_those_of_the_model_called_bare(ran: Ran, bare: Bare) -> None:
    """Less those that overlap a surer one: no box that was left out overlaps none that was kept."""
    found = [row for row in objects(ran.rows("first", SPAN)) if row["frame"] == 0]
    kept = [edges(row) for row in found]
    assert 1 < len(kept) < len(bare.boxes)
    cut = [[*np.clip(box, 0, [128, 96, 128, 96]).round(2)] for box in bare.boxes]
    for row in found:
        same = [n for n, box in enumerate(cut) if np.allclose(box, edges(row), atol=0.02)]
        assert [round(bare.scores[n], 3) for n in same] == [pytest.approx(row["score"], abs=2e-3)]
    assert all(iou(a, b) <= OVERLAP + 0.01 for a, b in combinations(kept, 2))
    assert all(max(iou(box, other) for other in kept) > OVERLAP - 0.01 for box in cut)


def test_every_clip_has_its_own_keyframes_names_and_hands(ran: Ran) -> None:
    assert ran.loads == 1
    for video, span in (("first", SPAN), ("first", PART), ("second", SPAN)):
        rows = ran.rows(video, span)
        assert sorted({row["frame"] for row in objects(rows)}) == KEYFRAMES[span]
        assert {row["label"] for row in objects(rows)} <= set(NAMES)
        assert {row["clip_id"] for row in rows} == {clip_id(video, *span)}
        assert rows == sorted(rows, key=lambda row: (row["frame"], row["label"], row["x0"], row["y0"]))
        hands = [row["frame"] for row in rows if row["label"] == "right hand"]
        assert hands == ([HAND_AT] if (video, span) == ("first", SPAN) else [])
    first, second = (objects(ran.rows(video, SPAN)) for video in ("first", "second"))
    assert [edges(row) for row in first] != [edges(row) for row in second]


def test_another_order_and_a_bad_clip_change_no_byte_of_the_others(
    model: ModelEnvRuns, videos: Videos, hands: Path, bare: Bare, ran: Ran, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(videos["first"][0].read_bytes()[:900])
    mixed = {"second": videos["second"], "bad": (bad, [SPAN]), "first": (videos["first"][0], [PART, SPAN])}
    inputs = {name: {"hand_poses": hands} for name in mixed}
    again = model.run(tmp_path / "again", mixed, inputs, bare.weights, **ASKED)
    assert again.report("bad", SPAN)["state"] == "failed"
    for video, span in (("first", SPAN), ("first", PART), ("second", SPAN)):
        assert again.table(video, span).read_bytes() == ran.table(video, span).read_bytes()


def test_nothing_found_is_said_and_a_long_clip_is_looked_at_less_often(
    model: ModelEnvRuns, videos: Videos, hands: Path, bare: Bare, tmp_path: Path
) -> None:
    only = {"second": videos["second"]}
    params = {"names": NAMES, "every_s": 0.04, "most_keyframes": 7, "box_threshold": 0.99}
    found = model.run(tmp_path / "ran", only, {"second": {"hand_poses": hands}}, bare.weights, **params)
    assert found.rows("second", SPAN) == []
    report = found.report("second", SPAN)
    assert (report["state"], report["notes"]["keyframes"]) == ("done", 6), "every fifth frame of 30"
    assert "nothing that looks like cup, toy block, bottle" in report["notes"]["nothing"]


def test_names_that_cannot_be_asked_for_are_said(
    model: ModelEnvRuns, videos: Videos, hands: Path, bare: Bare, tmp_path: Path
) -> None:
    only, inputs = {"second": videos["second"]}, {"second": {"hand_poses": hands}}
    ran = model.run(tmp_path / "ran", only, inputs, bare.weights, names=[f"cup {'toy ' * n}" for n in range(25)])
    assert "25 names of" in ran.report("second", SPAN)["reason"]
    assert "name fewer things" in ran.report("second", SPAN)["reason"]


def test_missing_weights_are_said_with_the_command_that_fetches_them(catalog: Catalog, tmp_path: Path) -> None:
    declared = catalog.model("detections", "groundingdino").weights
    command = "egoworld weights download huggingface:IDEA-Research/grounding-dino-tiny --revision [0-9a-f]{40}"
    with pytest.raises(WeightsMissing, match=rf"grounding-dino-tiny does not exist.*{command}"):
        local_weights(declared, Path("python"), paths=ModelPaths(tmp_path), env="groundingdino")
