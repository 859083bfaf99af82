"""No stage is worse than its bound, on the generated sample and on real data."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from egoworld_assets.quality.accuracy import MEASURES
from egoworld_resources.environments.building.builder import EnvBuilder
from egoworld_resources.environments.catalog import Catalog
from made_clips import Ran
from tests.accuracy import cuts, hands_by_eye, hands_over_frames, moved_photograph, object_motion, retargeting
from tests.accuracy.bounds import bounds, broken, proposed
from tests.accuracy.everything import SAMPLE, SHORT_SAMPLE
from tests.accuracy.figures import Figure, of_samples
from tests.accuracy.hot3d import Hot3d
from tests.accuracy.sample_flow import SampleFlow
from tests.accuracy.table import BEGIN, END, NONE_PUBLISHED, into_page, page_rows, page_table
from tests.headline import ACCURACY


def assert_kept(figures: list[Figure]) -> None:
    """Every figure has a bound and keeps it."""
    assert figures
    assert {figure.key for figure in figures} <= set(bounds())
    assert broken(figures) == []


@pytest.mark.env
def test_every_stage_on_the_sample(flow: SampleFlow) -> None:
    figures = of_samples(SHORT_SAMPLE, flow.measure().values())
    assert_kept(figures)
    assert {figure.stage for figure in figures} == set(MEASURES)
    assert {figure.key for figure in figures} == {key for key in bounds() if key[1] == SHORT_SAMPLE}


@pytest.mark.env
def test_hands_in_real_pictures(real_hands: Ran) -> None:
    assert_kept(hands_by_eye.figures(real_hands))


@pytest.mark.env
def test_hands_over_frames(builder: EnvBuilder, catalog: Catalog, shared_data: Path, tmp_path: Path) -> None:
    assert_kept(hands_over_frames.measure(shared_data, builder, catalog, tmp_path, whole=False))


@pytest.mark.parametrize("data", hands_over_frames.SEEN.values())
def test_one_hand_on_the_wrong_side_and_a_false_one_are_counted(data: str) -> None:
    (name,) = (name for name, known in hands_over_frames.SEEN.items() if known == data)
    places = hands_over_frames.BY_EYE[name]
    shape = np.array([(x % 5 * 20.0, x // 5 * 20.0) for x in range(21)])
    shape -= shape[[5, 9, 13, 17]].mean(axis=0)

    def row(frame: int, side: str, at: tuple[float, float]) -> dict[str, Any]:
        return {"frame": frame, "side": side.rstrip("?"), "keypoints_2d": (shape + at).ravel()}

    def shares(rows: list[dict[str, Any]]) -> list[float]:
        return [figure.values[0] for figure in hands_over_frames.over_frames(data, {name: (rows, places)})]

    sure = [row(f, side, at) for f, hands in places.items() for side, at in hands.items() if not side.endswith("?")]
    unsure = [row(f, side, at) for f, hands in places.items() for side, at in hands.items() if side.endswith("?")]
    share = 100 / len(sure)
    assert shares(sure) == shares([*sure, *unsure]) == [100, 100, 0]
    assert shares(sure[1:]) == pytest.approx([100 - share, 100, 0])
    assert shares([*sure, row(sure[0]["frame"], "right", (5000, 5000))])[1] == pytest.approx(10000 / (100 + share))
    swapped = {"left": "right", "right": "left"}[sure[0]["side"]]
    assert shares([{**sure[0], "side": swapped}, *sure[1:]]) == pytest.approx([100 - share, 100 - share, share])


def test_cuts_of_real_videos(builder: EnvBuilder, catalog: Catalog, shared_data: Path, tmp_path: Path) -> None:
    assert_kept(cuts.measure(shared_data, builder, catalog, tmp_path, whole=False))


def test_tracks_on_moved_photographs(builder: EnvBuilder, catalog: Catalog, shared_data: Path, tmp_path: Path) -> None:
    assert_kept(moved_photograph.measure(shared_data, builder, catalog, tmp_path))


def test_poses_of_recorded_objects(builder: EnvBuilder, catalog: Catalog, shared_data: Path, tmp_path: Path) -> None:
    assert_kept(object_motion.measure(shared_data, builder, catalog, tmp_path))


@pytest.mark.env
def test_retargeting_of_recorded_hands(
    builder: EnvBuilder, catalog: Catalog, shared_data: Path, tmp_path: Path
) -> None:
    assert_kept(retargeting.measure(shared_data, builder, catalog, tmp_path))


def test_recorded_hands_lie_in_the_boxes_that_their_recording_gives(shared_data: Path) -> None:
    """Our own bending of the recorded hand model, seen through the recorded lens, against HOT3D's boxes of hands."""
    recording = Hot3d.of(shared_data)
    boxes = recording.hand_boxes()
    for side, joints in recording.hands().items():
        for time, pixels in zip(recording.times, recording.pixels(joints), strict=True):
            box = boxes[side, time]
            assert (pixels.min(axis=0) > box[:2]).all()
            assert (pixels.max(axis=0) < box[2:]).all()
            assert ((pixels.max(axis=0) - pixels.min(axis=0)) > 0.6 * (box[2:] - box[:2])).all()


def test_every_stage_has_bounds_and_every_row_of_the_readme_is_bound() -> None:
    for data in (SAMPLE, SHORT_SAMPLE):
        assert {stage for stage, on, _ in bounds() if on == data} == set(MEASURES)
    assert {(row["stage"], row["data"], row["what"]) for row in page_rows()} <= set(bounds())


def test_the_page_shows_the_bounds_of_today(repository: Path) -> None:
    text = (repository / ACCURACY).read_text(encoding="utf-8")
    lines = [re.split(r" \| ", line.strip("| ")) for line in text.partition(BEGIN)[2].partition(END)[0].splitlines()]
    known = bounds()
    assert len(lines) == 2 + len(page_rows())
    for row, (stage, data, what, _, bound, _) in zip(page_rows(), lines[2:], strict=True):
        assert (stage, data) == (row["stage"], row["data"])
        assert what.startswith(row["what"])
        assert bound == known[stage, data, row["what"]].words


def test_a_table_is_put_where_its_marks_are(tmp_path: Path) -> None:
    figures = [Figure(row["stage"], row["data"], row["what"], (0.5, 0.25), "px") for row in page_rows()]
    figures += [Figure(row["stage"], row["data"], row["same"], (3.0,), "%") for row in page_rows() if "same" in row]
    readme = tmp_path / "README.md"
    readme.write_text(f"above\n{BEGIN}old\n{END}below\n")
    into_page(readme, page_table(figures))
    text = readme.read_text()
    assert text.startswith(f"above\n{BEGIN}| stage |")
    assert text.endswith(f"|\n{END}below\n")
    assert "| 0.25 – 0.5 px |" in text
    assert "| 3 %: MediaPipe's own tasks interface" in text
    assert NONE_PUBLISHED in text
    assert "old" not in text
    readme.write_text("no marks")
    with pytest.raises(ValueError, match=r"README\.md has no lines"):
        into_page(readme, "")
    with pytest.raises(KeyError):
        page_table(figures[1:])


@pytest.mark.parametrize(
    ("what", "values", "unit", "bound"),
    [
        ("error, median", (1.0, 2.0), "px", ("at_most", 3.0)),
        ("ATE", (0.05, 0.04), "%", ("at_most", 0.3)),
        ("ATE", (0.05, 0.4), "%", ("at_most", 0.6)),
        ("cuts missed", (0.0,), "cuts", ("at_most", 0.0)),
        ("hand: mean IoU", (0.9, 0.85), "", ("at_least", 0.8)),
        ("hand: has a mask", (98.0, 99.0), "%", ("at_least", 93.0)),
        ("cuts found at the exact frame", (1.0,), "cuts", ("at_least", 1.0)),
    ],
)
def test_how_a_bound_follows_from_what_was_measured(
    what: str, values: tuple[float, ...], unit: str, bound: tuple[str, float]
) -> None:
    assert proposed(Figure("s", "d", what, values, unit)) == bound
