"""Rows are checked as they are written, and each lands under its own clip."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from egoworld_runner import Clip, FrameIndex, clip_id, tables
from egoworld_runner.errors import BadRow
from egoworld_runner.writer import BATCH_ROWS, ClipWriter

INDEX = FrameIndex(
    pts=np.arange(500),
    time_s=np.arange(500) / 25,
    key=np.zeros(500, np.bool_),
    damaged=np.zeros(500, np.bool_),
    restart=np.zeros(500, np.bool_),
    width=64,
    height=48,
    rotation=0,
    timing="stamps",
    corrupt_packets=0,
)


def clip_of(folder: Path, start: int = 0, end: int = 100, video: str = "video") -> Clip:
    return Clip(video, folder / "video.mp4", INDEX, start, end, folder)


def box(frame: int, label: str = "mug", score: float = 0.5) -> tables.Detection:
    return tables.Detection(frame, label, score, 0.0, 0.0, 4.0, 4.0)


def hand(points: object = None, frame: int = 0) -> tables.HandPose:
    flat = np.zeros((21, 2)) if points is None else points
    return tables.HandPose(frame=frame, side="left", score=0.5, keypoints_2d=flat)  # pyright: ignore[reportArgumentType]


REFUSED: dict[str, tuple[Callable[[], tables.Row], str]] = {
    "undeclared table": (
        lambda: tables.TrackPoint(0, 0, 1.0, 1.0, visible=True, obj_id=0, label=""),
        "yielded a TrackPoint, but it declares",
    ),
    "frame before the clip": (lambda: box(9), r"frame 9 lies outside the clip \[10, 20\)"),
    "frame after the clip": (lambda: box(20), r"frame 20 lies outside the clip \[10, 20\)"),
    "not a number": (lambda: box(10, score=float("nan")), "detections.score is nan"),
    "infinite": (lambda: box(10, score=float("inf")), "detections.score is inf"),
    "no value": (lambda: box(10, label=None), "detections.label must have a value"),  # pyright: ignore[reportArgumentType]
    "short vector": (lambda: hand(np.zeros((20, 2)), 10), "hand_poses.keypoints_2d needs 42 numbers, got 40"),
    "vector not finite": (lambda: hand(np.full((21, 2), np.inf), 10), "keypoints_2d holds a number that is not finite"),
    "frame is text": (lambda: box("10"), "frame must be a whole number, got '10'"),  # pyright: ignore[reportArgumentType]
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_row_that_breaks_its_table_is_refused(tmp_path: Path, kind: str) -> None:
    make, reason = REFUSED[kind]
    writer = ClipWriter(clip_of(tmp_path, 10, 20), tmp_path, (tables.Detection, tables.HandPose))
    try:
        with pytest.raises(BadRow, match=reason):
            writer.write(make())
    finally:
        writer.close()


def test_a_value_of_the_wrong_type_is_refused_when_it_is_stored(tmp_path: Path) -> None:
    writer = ClipWriter(clip_of(tmp_path), tmp_path, (tables.Detection,))
    writer.write(box(0, label=7))  # pyright: ignore[reportArgumentType]
    with pytest.raises(BadRow, match="detections: "):
        writer.close()


def test_a_table_without_rows_is_still_a_file(tmp_path: Path) -> None:
    writer = ClipWriter(clip_of(tmp_path), tmp_path, (tables.Detection,))
    writer.close()
    table = pq.read_table(tmp_path / "detections.parquet")
    assert table.num_rows == 0
    assert table.schema.equals(tables.schema(tables.Detection))


def test_more_rows_than_a_batch_keep_their_order(tmp_path: Path) -> None:
    writer = ClipWriter(clip_of(tmp_path), tmp_path, (tables.Detection,))
    for number in range(BATCH_ROWS + 10):
        writer.write(box(number % 100, label=str(number)))
    writer.close()
    labels = pq.read_table(tmp_path / "detections.parquet")["label"].to_pylist()
    assert labels == [str(number) for number in range(BATCH_ROWS + 10)]


def test_a_vector_comes_back_row_by_row(tmp_path: Path) -> None:
    points = np.arange(42, dtype=np.float32).reshape(21, 2)
    writer = ClipWriter(clip_of(tmp_path), tmp_path, (tables.HandPose,))
    writer.write(hand(points))
    writer.close()
    (row,) = pq.read_table(tmp_path / "hand_poses.parquet").to_pylist()
    np.testing.assert_array_equal(np.reshape(row["keypoints_2d"], (21, 2)), points)
    assert row["keypoints_3d"] is None


spans = st.tuples(st.integers(0, 490), st.integers(1, 400)).map(lambda s: (s[0], min(500, s[0] + s[1])))


@settings(max_examples=60, deadline=None)
@given(
    clips=st.lists(st.tuples(st.sampled_from(["a", "b", "a\n0"]), spans), min_size=1, max_size=5, unique=True),
    order=st.randoms(use_true_random=False),
)
def test_interleaved_clips_never_mix(clips: list[tuple[str, tuple[int, int]]], order: object) -> None:
    """Writers of many clips open at once: every row is found once, in its own clip's file, under its own clip's id."""
    with tempfile.TemporaryDirectory() as name:
        folders = [Path(name) / str(number) for number in range(len(clips))]
        writers: list[ClipWriter] = []
        for folder, (video, (start, end)) in zip(folders, clips, strict=True):
            folder.mkdir()
            writers.append(ClipWriter(clip_of(folder, start, end, video), folder, (tables.Detection,)))
        rows = [(n, frame) for n, (_, span) in enumerate(clips) for frame in range(span[0], span[1], 37)]
        order.shuffle(rows)  # pyright: ignore[reportAttributeAccessIssue]
        for number, frame in rows:
            writers[number].write(box(frame, label=str(number)))
        for writer in writers:
            writer.close()
        for number, (video, (start, end)) in enumerate(clips):
            found = pq.read_table(folders[number] / "detections.parquet").to_pylist()
            assert {row["clip_id"] for row in found} <= {clip_id(video, start, end)}
            assert {row["label"] for row in found} == {str(number)}
            assert sorted(row["frame"] for row in found) == list(range(start, end, 37))
        assert len({clip_id(video, *span) for video, span in clips}) == len(clips)


def test_a_clip_span_carries_the_id_of_the_span_that_it_names(tmp_path: Path) -> None:
    writer = ClipWriter(clip_of(tmp_path, 0, 500), tmp_path, (tables.ClipSpan,))
    writer.write(tables.ClipSpan(10, 20, 0.4, 0.8, 1, 5.0, 64, 48, 25.0))
    writer.close()
    (row,) = pq.read_table(tmp_path / "clips.parquet").to_pylist()
    assert row["clip_id"] == clip_id("video", 10, 20)
