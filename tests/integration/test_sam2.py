"""SAM 2.1's real loading and inference code on a small model with random weights: what it cuts out means nothing; how
it is asked, what it remembers and how its masks are written is what counts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pycocotools import mask as coco

from egoworld_resources.environments.building.builder import EnvBuilder
from egoworld_resources.environments.catalog import Catalog
from egoworld_resources.weights import ModelPaths, WeightsMissing, local_weights
from egoworld_runner import clip_id, tables
from egoworld_runner.video import FrameIndex, frames
from made_clips import ModelEnvRuns, Ran
from made_videos import make_video, of_squares
from made_vision import call

pytestmark = pytest.mark.env

SIZE = (96, 128)
"""Height and width of the made pictures, px."""
SPAN, PART = (0, 30), (5, 25)
WHOLE = (1.0, 1.0, 127.0, 95.0)
"""A random mask is all over the picture: a box of nearly all of it overlaps it."""
SHOWN_AT = (0, 15)
ASKED = {"every_s": 0.6, "look_back_s": 0.2}
"""Every 15th frame; 5 frames back."""
Inputs = Mapping[str, Mapping[str, Path]]
Videos = Mapping[str, tuple[Path, list[tuple[int, int]]]]


@pytest.fixture(scope="module")
def model(builder: EnvBuilder, catalog: Catalog) -> ModelEnvRuns:
    return ModelEnvRuns(builder, catalog, "sam2", "masks")


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Videos:
    """One with a detected cup; one with a hand, and a bowl that a person showed; one in which nothing was found."""
    folder = tmp_path_factory.mktemp("videos")
    names = ("detected", "shown", "empty")
    return {name: (make_video(folder / f"{name}.mp4", of_squares(n, 30, SIZE)), [SPAN]) for n, name in enumerate(names)}


def written(folder: Path, row_class: type[tables.Row], rows: list[dict[str, Any]]) -> Path:
    """An artifact of one table; columns that a row does not give are null."""
    schema = tables.schema(row_class)
    folder.mkdir(parents=True)
    full = [dict.fromkeys(schema.names) | row for row in rows]
    pq.write_table(pa.Table.from_pylist(full, schema=schema), folder / f"{row_class.table}.parquet")
    return folder


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    folder = tmp_path_factory.mktemp("inputs")
    edges = dict(zip(("x0", "y0", "x1", "y1"), WHOLE, strict=True))
    cups = [
        {"clip_id": clip_id("detected", *span), "frame": frame, "label": "cup", "score": 0.8, **edges}
        for span in (SPAN, PART)
        for frame in SHOWN_AT
        if span[0] <= frame
    ]
    joints = np.stack([np.linspace(40, 70, 21), np.linspace(30, 60, 21)], axis=1).reshape(-1).tolist()
    hand = {"clip_id": clip_id("shown", *SPAN), "frame": 12, "side": "right", "score": 0.9, "keypoints_2d": joints}
    hands = written(folder / "hands", tables.HandPose, [hand])
    detections = written(folder / "detections", tables.Detection, cups)
    said = [
        {"frame": 4, "label": "bowl", "box": [10, 10, 60, 50]},
        {"frame": 20, "label": "bowl", "inside": [[30, 30]], "outside": [[120, 90]]},
    ]
    (folder / "prompts").mkdir()
    (folder / "prompts" / "prompts.json").write_text(json.dumps(said))
    every = {"hand_poses": hands, "detections": detections}
    return {"detected": every, "shown": {**every, "prompts": folder / "prompts"}, "empty": every}


@dataclass(frozen=True)
class Bare:
    """A saved model, and the areas of what it follows in the first video when nothing of ours is between."""

    weights: dict[str, Path]
    areas: list[int]


@pytest.fixture(scope="module")
def bare(model: ModelEnvRuns, videos: Videos, tmp_path_factory: pytest.TempPathFactory) -> Bare:
    folder = tmp_path_factory.mktemp("model")
    path = videos["detected"][0]
    np.save(folder / "pictures.npy", np.stack([frame.rgb for frame in frames(path, FrameIndex.scan(path), *SPAN)]))
    saved, shown = folder / "sam2.1-hiera-small", {str(frame): WHOLE for frame in SHOWN_AT}
    python = model.builder.ensure("sam2").python
    return Bare({"sam2": saved}, call(python, "sam2", folder=saved, pictures=folder / "pictures.npy", shown=shown))


@pytest.fixture(scope="module")
def ran(
    model: ModelEnvRuns, videos: Videos, inputs: Inputs, bare: Bare, tmp_path_factory: pytest.TempPathFactory
) -> Ran:
    return model.run(tmp_path_factory.mktemp("ran"), videos, inputs, bare.weights, **ASKED)


def test_masks_are_those_of_a_model_that_never_forgets(ran: Ran, bare: Bare) -> None:
    rows = ran.rows("detected", SPAN)
    assert len(set(bare.areas)) > 10, "what it cuts out differs from frame to frame"
    assert {row["frame"]: row["area"] for row in rows} == {n: area for n, area in enumerate(bare.areas) if area}


def test_a_thing_keeps_its_id_when_it_is_detected_again(ran: Ran) -> None:
    assert ran.loads == 1
    rows = ran.rows("detected", SPAN)
    assert {(row["obj_id"], row["label"]) for row in rows} == {(3, "cup")}
    assert max(row["frame"] for row in rows) == SPAN[1] - 1
    assert ran.report("detected", SPAN)["notes"]["objects"] == 1


def test_hands_are_followed_on_and_what_a_person_showed_also_back(ran: Ran) -> None:
    rows = ran.rows("shown", SPAN)
    assert {(row["obj_id"], row["label"]) for row in rows} == {(2, "right hand"), (3, "bowl")}
    first = {obj_id: min(row["frame"] for row in rows if row["obj_id"] == obj_id) for obj_id in (2, 3)}
    assert first[3] < 4
    assert first[2] >= 12
    assert [row["frame"] for row in rows] == sorted(row["frame"] for row in rows)
    assert len({(row["frame"], row["obj_id"]) for row in rows}) == len(rows)
    assert ran.report("shown", SPAN)["notes"]["shown"] == 2


def test_every_mask_has_pixels_and_lies_in_the_picture(ran: Ran) -> None:
    rows = [row for video in ("detected", "shown") for row in ran.rows(video, SPAN)]
    for row in rows:
        assert (row["height"], row["width"]) == SIZE
        mask = {"size": [row["height"], row["width"]], "counts": row["rle"].encode("ascii")}
        assert 0 < int(coco.area(mask)) == row["area"]
        x, y, width, height = coco.toBbox(mask).tolist()
        assert 0 <= x < x + width <= SIZE[1]
        assert 0 <= y < y + height <= SIZE[0]
        assert 0.5 < row["score"] <= 1


def test_where_nothing_is_asked_for_there_is_nothing_and_that_is_said(ran: Ran) -> None:
    report = ran.report("empty", SPAN)
    assert (report["state"], ran.rows("empty", SPAN)) == ("done", [])
    assert "nothing was detected" in report["notes"]["nothing"]


def test_another_order_and_a_bad_clip_change_no_byte_of_the_others(
    model: ModelEnvRuns, videos: Videos, inputs: Inputs, bare: Bare, ran: Ran, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(videos["shown"][0].read_bytes()[:900])
    mixed = {"shown": videos["shown"], "bad": (bad, [SPAN]), "detected": (videos["detected"][0], [PART, SPAN])}
    given = {**inputs, "bad": inputs["shown"]}
    again = model.run(tmp_path / "again", mixed, given, bare.weights, **ASKED)
    assert again.report("bad", SPAN)["state"] == "failed"
    part = {row["frame"] for row in again.rows("detected", PART)}
    assert {14, 24} <= part <= set(range(10, 25)), "shown in frame 15 first, and followed 5 frames back"
    for video in ("shown", "detected"):
        assert again.table(video, SPAN).read_bytes() == ran.table(video, SPAN).read_bytes()


def test_memory_does_not_grow_with_the_video(model: ModelEnvRuns, bare: Bare) -> None:
    python, runner = model.builder.ensure("sam2").python, model.catalog.env("sam2").folder
    held = call(python, "bytes_held", folder=bare.weights["sam2"], runner=runner, frames=80, every=10)
    assert held[0] < held[5]
    assert len(set(held[5:])) == 1, "two things shown every 10th frame: after 60 frames nothing more is kept"


def test_missing_weights_are_said_with_the_command_that_fetches_them(catalog: Catalog, tmp_path: Path) -> None:
    declared = catalog.model("masks", "sam2").weights
    command = "egoworld weights download huggingface:facebook/sam2.1-hiera-small --revision [0-9a-f]{40}"
    with pytest.raises(WeightsMissing, match=rf"sam2\.1-hiera-small does not exist.*{command}"):
        local_weights(declared, Path("python"), paths=ModelPaths(tmp_path), env="sam2")
