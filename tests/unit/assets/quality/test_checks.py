"""Every check on a draft that it must pass and on one that it must stop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from egoworld_assets.quality import checks
from egoworld_resources.artifacts.manifest import ClipReport
from egoworld_resources.artifacts.stage import Check, Draft
from egoworld_runner import tables

CLIP = "c"
PALM = np.stack([np.linspace(0, 60, 21), np.linspace(0, 80, 21) ** 1.1], axis=1)


def written(folder: Path, rows: Sequence[tables.Row], kind: type[tables.Row]) -> Path:
    """Rows as the table of their artifact, all of one clip."""
    folder.mkdir(parents=True, exist_ok=True)
    plain = [{"clip_id": CLIP, **{n: tables.plain(getattr(row, n)) for n in tables.columns(kind)}} for row in rows]
    pq.write_table(pa.Table.from_pylist(plain, schema=tables.schema(kind)), folder / f"{kind.table}.parquet")
    return folder


def draft(tmp_path: Path, rows: Sequence[tables.Row], kind: type[tables.Row], frames: int = 100) -> Draft:
    probe = tables.Video(
        "s",
        1,
        "mp4",
        "h264",
        "yuv420p",
        640,
        480,
        0,
        frames,
        30.0,
        0.0,
        1.0,
        variable_frame_rate=False,
        corrupt_packets=0,
        damaged_frames=0,
        timing="stamps",
        camera="",
        focal_35mm=None,
    )
    videos = written(tmp_path / "videos", [probe], tables.Video)
    folder = written(tmp_path / "draft", rows, kind)
    return Draft(kind.table, folder, [ClipReport(unit=CLIP, state="done")], {"videos": videos})


def hand(frame: int, side: str, at: tuple[float, float] = (100, 100), bent: float = 0.0) -> tables.HandPose:
    """bent: by how much of its length the second half of the joints moves aside."""
    joints = PALM + np.array(at)
    joints[10:, 0] += bent * 80
    return tables.HandPose(frame, side, 0.9, joints)


def circle(frame: int, side: str) -> tables.HandPose:
    """The same circle in every frame, as an env draws it that finds nothing."""
    turn = np.linspace(0, 2 * np.pi, 21)
    return tables.HandPose(frame, side, 0.99, 300 + 40 * np.stack([np.cos(turn), np.sin(turn)], axis=1))


def pose(rotation: NDArray[np.float64] | None = None, at: Sequence[float] = (0, 0, 1)) -> NDArray[np.float64]:
    matrix = np.eye(4)
    matrix[:3, :3] = np.eye(3) if rotation is None else rotation
    matrix[:3, 3] = at
    return matrix


def camera(frame: int, at: Sequence[float], registered: bool = True, kind: str = "moving") -> tables.CameraPose:
    kind = kind if registered else ""
    return tables.CameraPose(frame, pose(at=at), registered, kind, "PINHOLE", (500, 500, 320, 240), ())


def mask(frame: int, area: int) -> tables.Mask:
    return tables.Mask(frame, 3, "object", "x", 10, 10, area, 1.0)


def robot(frame: int, angle: float) -> tables.RobotPose:
    return tables.RobotPose(frame, "right", "generic_hand", ["a", "b"], [0.0, angle], 0.01)


def span(start: int, end: int) -> tables.ClipSpan:
    return tables.ClipSpan(start, end, start / 30, end / 30, 0, 0.0, 640, 480, 30.0)


def video(damaged: int = 0, lost: int = 0, timing: str = "stamps") -> tables.Video:
    return tables.Video(
        "s", 1, "mp4", "h264", "yuv420p", 640, 480, 0, 100, 25.0, 0.0, 4.0,
        variable_frame_rate=False, corrupt_packets=lost, damaged_frames=damaged, timing=timing, camera="",
        focal_35mm=None,
    )  # fmt: skip


NOISE = np.random.default_rng(3).normal(0, 0.01, (40, 3))
GOOD_AND_BAD = {
    "clips in order": (
        checks.clips_in_order,
        tables.ClipSpan,
        [span(0, 40), span(40, 100)],
        [span(0, 50), span(40, 100)],
        "overlaps or is outside",
    ),
    "clips inside the video": (
        checks.clips_in_order,
        tables.ClipSpan,
        [span(0, 100)],
        [span(0, 101)],
        "overlaps or is outside",
    ),
    "two hands": (
        checks.hands_differ,
        tables.HandPose,
        [h for f in range(9) for h in (hand(f, "left", (50, 50)), hand(f, "right", (300, 50)))],
        [h for f in range(9) for h in (hand(f, "left", (50, 50)), hand(f, "right", (52, 51)))],
        "the same hand in 100% of their frames",
    ),
    "hands that move": (
        checks.hands_move_physically,
        tables.HandPose,
        [hand(f, "right", (100 + 10 * f, 100)) for f in range(20)],
        [hand(f, "right", (100 + 300 * (f % 2), 100)) for f in range(20)],
        "hands jump in 100% of frames",
    ),
    "hands that are alive": (
        checks.hands_are_alive,
        tables.HandPose,
        [hand(f, "right", bent=0.3 * np.sin(f / 9)) for f in range(40)],
        [hand(f, "right", (100 + 3 * f, 100)) for f in range(40)],
        "never change their pose are no hands: 100% of the rows (right, frames 0 to 39)",
    ),
    "a circle beside a hand": (
        checks.hands_are_alive,
        tables.HandPose,
        [hand(f, "right", bent=0.3 * np.sin(f / 9)) for f in range(40)] + [hand(f, "left") for f in range(10)],
        [h for f in range(40) for h in (hand(f, "right", bent=0.3 * np.sin(f / 9)), circle(f, "left"))],
        "50% of the rows (left, frames 0 to 39)",
    ),
    "hands": (checks.hands_found, tables.HandPose, [hand(0, "right")], [], "no hand was found"),
    "boxes": (
        checks.boxes_inside,
        tables.Detection,
        [tables.Detection(0, "object", 1.0, 1, 1, 5, 5)],
        [tables.Detection(0, "object", 1.0, 5, 1, 5, 5)],
        "1 boxes have no area or reach out of the picture",
    ),
    "masks": (checks.masks_not_empty, tables.Mask, [mask(0, 50)], [mask(0, 0), mask(1, 100)], "2 of 2 masks"),
    "camera poses": (
        checks.cameras_are_real,
        tables.CameraPose,
        [camera(f, (0.01 * f, 0, 0)) for f in range(9)],
        [camera(f, (0, 0, 0)) for f in range(9)],
        "all poses of a moving camera are the identity",
    ),
    "a camera that only turns": (
        checks.cameras_are_real,
        tables.CameraPose,
        [camera(f, (0, 0, 0), kind="rotation") for f in range(9)],
        [camera(f, (0.01 * f, 0, 0), kind="rotation") for f in range(9)],
        "8 poses of cameras that only turn or stand still have a translation",
    ),
    "a smooth camera": (
        checks.cameras_move_smoothly,
        tables.CameraPose,
        [camera(f, (0.01 * f, 0.02 * np.sin(f / 5), 0)) for f in range(40)],
        [camera(f, NOISE[f]) for f in range(40)],
        "the camera trembles",
    ),
    "object poses": (
        checks.poses_are_rigid,
        tables.ObjectPose,
        [tables.ObjectPose(0, 3, "object", pose(), 1.0)],
        [
            tables.ObjectPose(0, 3, "object", pose(2 * np.eye(3)), 1.0),
            tables.ObjectPose(1, 3, "object", pose(at=(0, 0, -1)), 1.0),
        ],
        "2 poses are not rigid or are behind the camera",
    ),
    "robot joints": (
        checks.joints_move_physically,
        tables.RobotPose,
        [robot(f, 0.05 * f) for f in range(20)],
        [robot(f, 3.0 * (f % 2)) for f in range(20)],
        "joints jump in 100% of frames",
    ),
}


@pytest.mark.parametrize("name", GOOD_AND_BAD)
def test_a_check_passes_the_good_and_stops_the_bad(tmp_path: Path, name: str) -> None:
    check, kind, good, bad, reason = GOOD_AND_BAD[name]
    passed = check(draft(tmp_path / "good", good, kind))
    assert (passed.passed, passed.reason) == (True, "")
    stopped = check(draft(tmp_path / "bad", bad, kind))
    assert not stopped.passed
    assert stopped.blocking
    assert reason in stopped.reason


def test_what_was_left_out_is_said(tmp_path: Path) -> None:
    """Nothing that was found and thrown away goes unnamed: neither where some hands are left nor where none is."""
    notes = {"not_hands_brief": 3, "not_hands_background": 27, "not_hands_stiff": 0}
    some, none = (draft(tmp_path / str(len(rows)), rows, tables.HandPose) for rows in ([hand(0, "right")] * 10, []))
    reports = [ClipReport(unit=CLIP, state="done", notes=notes)]
    kept = checks.hands_kept(replace(some, clips=reports))
    assert (kept.passed, kept.blocking) == (False, False)
    assert "75% of what the model took for hands is not a hand" in kept.reason
    assert "3 seen too briefly, 27 part of the background" in kept.reason
    assert checks.hands_kept(some).passed
    found = checks.hands_found(replace(none, clips=reports))
    assert found.reason == "no hand was found; left out: 3 seen too briefly, 27 part of the background"
    assert found.blocking


def test_nothing_found_is_no_success(tmp_path: Path) -> None:
    verdict = checks.has_rows("masks")(draft(tmp_path, [], tables.Mask))
    assert (verdict.passed, verdict.blocking, verdict.reason) == (False, True, "nothing was found (masks is empty)")


@pytest.mark.parametrize(
    ("check", "kind", "rows"),
    [
        (
            checks.found_or_said("reconstructions", "registered"),
            tables.CameraPose,
            [camera(0, (0, 0, 0), registered=False)],
        ),
        (checks.found_or_said("object_poses"), tables.ObjectPose, []),
    ],
)
def test_nothing_is_good_only_where_the_model_says_why(
    tmp_path: Path, check: Check, kind: type[tables.Row], rows: list[tables.Row]
) -> None:
    silent = draft(tmp_path, rows, kind)
    verdict = check(silent)
    assert (verdict.passed, verdict.blocking) == (False, True)
    assert "does not say why" in verdict.reason
    said = ClipReport(unit=CLIP, state="done", notes={"nothing": "no object was handled"})
    assert check(replace(silent, clips=[said])).passed
    assert not check(replace(silent, clips=[said, *silent.clips])).passed, "one clip has rows or a reason, another none"


@pytest.mark.parametrize(("kind", "registered"), [("rotation", True), ("static", True), ("", False)])
def test_a_camera_without_parallax_warns_and_does_not_block(tmp_path: Path, kind: str, registered: bool) -> None:
    row = camera(0, (0, 0, 0), kind=kind, registered=registered)
    verdict = checks.cameras_show_parallax(draft(tmp_path, [row], tables.CameraPose))
    assert (verdict.passed, verdict.blocking) == (False, False)


def test_an_empty_or_absent_file_is_missing(tmp_path: Path) -> None:
    made = draft(tmp_path, [], tables.Mask)
    (made.folder / "sheet.png").touch()
    (made.folder / "overlay.mp4").write_bytes(b"x")
    verdict = checks.has_files("sheet.png", "overlay.mp4", "recording.rrd")(made)
    assert verdict.reason == "missing: sheet.png, recording.rrd"


@pytest.mark.parametrize(
    ("box", "passes"),
    [
        ((0, 0, 640, 480), True),
        ((639, 479, 640, 480), True),
        ((0, 0, 640.5, 480), False),
        ((0, 0, 640, 480.5), False),
        ((-0.5, 0, 640, 480), False),
        ((0, -0.5, 640, 480), False),
        ((640, 0, 640, 480), False),
        ((700, 0, 710, 480), False),
        ((float("nan"), 0, 640, 480), False),
    ],
)
def test_boxes_at_the_border_of_the_picture(
    tmp_path: Path, box: tuple[float, float, float, float], passes: bool
) -> None:
    """The picture has 640 x 480 px: its own box is inside, half a pixel more is not."""
    rows = [tables.Detection(0, "object", 1.0, *box)]
    assert checks.boxes_inside(draft(tmp_path, rows, tables.Detection)).passed is passes


@pytest.mark.parametrize(
    ("check", "bad", "words"),
    [
        (checks.pictures_are_whole, video(damaged=25), "25 of 100 pictures are damaged and 0 are lost; they are in no"),
        (checks.pictures_are_whole, video(lost=3), "and 3 are lost"),
        (checks.times_are_stamped, video(timing="rate"), "a rate that the file declares, 25 pictures per second"),
        (checks.times_are_stamped, video(timing="assumed"), "a rate that is assumed, for the file declares none"),
    ],
)
def test_what_is_known_of_a_file_warns_and_stops_nothing(
    tmp_path: Path, check: Check, bad: tables.Video, words: str
) -> None:
    good = check(draft(tmp_path / "good", [video()], tables.Video))
    assert (good.passed, good.reason) == (True, "")
    warned = check(draft(tmp_path / "bad", [bad], tables.Video))
    assert (warned.passed, warned.blocking) == (False, False)
    assert words in warned.reason
