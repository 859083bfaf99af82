"""What must hold before an artifact may be used: no silent success.

A check looks at a draft and gives a verdict. One that blocks and fails puts the video into quarantine at that stage;
one that only warns is shown and kept in the manifest.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from egoworld_resources.artifacts.manifest import Verdict
from egoworld_resources.artifacts.stage import Check, Draft

MAX_BOTH_SIDES = 0.2
MAX_HAND_JUMP = 1.5
MAX_JOINT_SPEED = 40.0
MAX_SHARE_OF_JUMPS = 0.2
MAX_CAMERA_TREMBLE = 0.8
"""Positions that are noise around a fixed place give 1.2 and more, a moving head about 0.2."""
MIN_STEPS = 8
ROWS_AT_ONCE = 1000
HAND = ("frame", "side", "keypoints_2d")


def verdict(name: str, fault: str, *, blocking: bool = True) -> Verdict:
    """A passed verdict when there is no fault."""
    return Verdict(check=name, passed=not fault, blocking=blocking, reason=fault)


def has_rows(table: str) -> Check:
    """A check that at least one row was found."""

    def check(draft: Draft) -> Verdict:
        """At least one row was found."""
        empty = draft.rows(table) == 0
        return verdict("has_rows", f"nothing was found ({table} is empty)" if empty else "")

    return check


def has_files(*names: str) -> Check:
    """A check that files exist and are not empty."""

    def check(draft: Draft) -> Verdict:
        """All files are there."""
        missing = [n for n in names if not (draft.folder / n).is_file() or (draft.folder / n).stat().st_size == 0]
        return verdict("has_files", f"missing: {', '.join(missing)}" if missing else "")

    return check


def clips_all_served(draft: Draft) -> Verdict:
    """Every clip was served; a warning only, since good clips go on."""
    failed = [clip for clip in draft.clips if clip.state == "failed"]
    fault = f"{len(failed)} of {len(draft.clips)} clips failed: {failed[0].reason}" if failed else ""
    return verdict("clips_all_served", fault, blocking=False)


def clips_in_order(draft: Draft) -> Verdict:
    """Clips follow one another without overlap and lie inside the video."""
    rows = draft.table("start_frame", "end_frame").to_pylist()
    frames = draft.input_table("videos").to_pylist()[0]["frames"]
    ends = [0, *(row["end_frame"] for row in rows)]
    bad = [
        row for row, end in zip(rows, ends, strict=False) if not end <= row["start_frame"] < row["end_frame"] <= frames
    ]
    return verdict(
        "clips_in_order",
        f"clip of frames {bad[0]['start_frame']}-{bad[0]['end_frame']} overlaps or lies outside" if bad else "",
    )


def hands_differ(draft: Draft) -> Verdict:
    """Left and right are two hands, not one hand twice."""
    same, both = 0, 0
    for hands in draft.by_clip(*HAND):
        left, right = (_by_frame(hands, side) for side in ("left", "right"))
        shared = left.keys() & right.keys()
        both += len(shared)
        same += sum(_overlap(left[frame], right[frame]) > 0.8 for frame in shared)
    share = same / both if both else 0.0
    return verdict(
        "hands_differ",
        f"left and right are the same hand in {share:.0%} of their frames" if share > MAX_BOTH_SIDES else "",
    )


def hands_move_physically(draft: Draft) -> Verdict:
    """Hands do not jump by more than 1.5 times their own size from one frame to the next, but rarely."""
    jumps, steps = 0, 0
    for rows in draft.by_clip(*HAND):
        for hands in (_by_frame(rows, side) for side in ("left", "right")):
            moves = [(hands[frame - 1], now) for frame, now in hands.items() if frame - 1 in hands]
            steps += len(moves)
            jumps += sum(_jumps(before, now) for before, now in moves)
    share = jumps / steps if steps else 0.0
    return verdict(
        "hands_move_physically", f"hands jump in {share:.0%} of frames" if share > MAX_SHARE_OF_JUMPS else ""
    )


def boxes_inside(draft: Draft) -> Verdict:
    """Boxes have an area and lie inside the picture; their edges may lie on its border."""
    size = draft.input_table("videos").to_pylist()[0]
    bad = 0
    for boxes in draft.by_clip("x0", "y0", "x1", "y1"):
        x0, y0, x1, y1 = (column.to_numpy() for column in boxes.columns)
        good = (x0 >= 0) & (x0 < x1) & (x1 <= size["width"]) & (y0 >= 0) & (y0 < y1) & (y1 <= size["height"])
        bad += int(np.sum(~good))
    return verdict("boxes_inside", f"{bad} boxes have no area or reach out of the picture" if bad else "")


def masks_not_empty(draft: Draft) -> Verdict:
    """No mask is empty or covers the whole picture."""
    bad = 0
    for masks in draft.by_clip("area", "width", "height"):
        area, width, height = (np.asarray(column.to_numpy(), dtype=float) for column in masks.columns)
        bad += int(np.sum((area <= 0) | (area >= 0.98 * (width * height))))
    fault = f"{bad} of {draft.rows(draft.asset)} masks are empty or cover everything" if bad else ""
    return verdict("masks_not_empty", fault)


def cameras_are_real(draft: Draft) -> Verdict:
    """Registered camera poses are rotations and positions that move, never the identity throughout."""
    registered, skewed, farthest = 0, 0, 0.0
    for poses in _camera_paths(draft):
        registered += len(poses)
        skewed += int(_skewed(poses).sum())
        farthest = max(farthest, float(np.abs(poses - np.eye(4)).max(initial=0.0)))
    if registered == 0:
        return verdict("cameras_are_real", "no frame was registered; see the notes of its clips", blocking=False)
    if skewed:
        return verdict("cameras_are_real", f"{skewed} poses are not rigid")
    still = registered > 1 and farthest < 1e-9
    return verdict("cameras_are_real", "all camera poses are the identity yet marked registered" if still else "")


def cameras_move_smoothly(draft: Draft) -> Verdict:
    """The camera's speed does not change by more than itself from frame to frame."""
    worst = 0.0
    for poses in _camera_paths(draft):
        steps = np.diff(poses[:, :3, 3], axis=0)
        speeds = np.linalg.norm(steps, axis=1)
        if len(steps) >= MIN_STEPS and np.median(speeds) > 0:
            worst = max(worst, float(np.median(np.linalg.norm(np.diff(steps, axis=0), axis=1)) / np.median(speeds)))
    return verdict(
        "cameras_move_smoothly",
        f"the camera trembles: its speed changes by {worst:.1f} times itself from frame to frame"
        if worst > MAX_CAMERA_TREMBLE
        else "",
    )


def poses_are_rigid(draft: Draft) -> Verdict:
    """Object poses are rigid and in front of the camera; none at all is a warning."""
    if draft.rows(draft.asset) == 0:
        return verdict("poses_are_rigid", "no object pose could be trusted", blocking=False)
    bad = 0
    for rows in draft.by_clip("T_camera_object"):
        poses = _matrices(rows["T_camera_object"])
        bad += int((_skewed(poses) | (poses[:, 2, 3] <= 0)).sum())
    return verdict("poses_are_rigid", f"{bad} poses are not rigid or lie behind the camera" if bad else "")


def joints_move_physically(draft: Draft) -> Verdict:
    """Joints do not turn faster than 40 rad/s, but rarely."""
    fps = draft.input_table("videos").to_pylist()[0]["fps"] or 30.0
    fast, steps = 0, 0
    for joints in draft.by_clip("side", "frame", "positions"):
        before: dict[str, tuple[int, NDArray[np.float64]]] = {}
        for row in (row for batch in joints.to_batches(ROWS_AT_ONCE) for row in batch.to_pylist()):
            side, now = row["side"], np.asarray(row["positions"], dtype=np.float64)
            if side in before and before[side][0] == row["frame"] - 1:
                steps += 1
                fast += bool(np.abs(now - before[side][1]).max() * fps > MAX_JOINT_SPEED)
            before[side] = (row["frame"], now)
    share = fast / steps if steps else 0.0
    return verdict(
        "joints_move_physically", f"joints jump in {share:.0%} of frames" if share > MAX_SHARE_OF_JUMPS else ""
    )


def _by_frame(hands: pa.Table, side: str) -> dict[int, NDArray[np.float64]]:
    """Keypoints [21x2] px of one side of a clip's hands by frame."""
    rows = hands.filter(pc.field("side") == side)
    points = _numbers(rows["keypoints_2d"]).reshape(-1, 21, 2)
    return dict(zip(rows["frame"].to_pylist(), points, strict=True))


def _jumps(before: NDArray[np.float64], now: NDArray[np.float64]) -> bool:
    """Whether a hand's points [21x2] move farther than a hand can from one frame to the next."""
    size = float(np.ptp(before, axis=0).max()) or 1.0
    return bool(np.linalg.norm(now.mean(axis=0) - before.mean(axis=0)) > MAX_HAND_JUMP * size)


def _camera_paths(draft: Draft) -> Iterator[NDArray[np.float64]]:
    """T_world_camera [n, 4, 4] of the registered frames of one clip after the other."""
    for rows in draft.by_clip("registered", "T_world_camera"):
        yield _matrices(rows.filter(pc.field("registered"))["T_world_camera"])


def _skewed(poses: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of poses [n, 4, 4] have no rotation in them."""
    rotations = poses[:, :3, :3]
    return np.abs(rotations @ rotations.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2)) > 1e-3


def _overlap(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Intersection over union of the boxes around two sets of points."""
    low, high = np.maximum(a.min(axis=0), b.min(axis=0)), np.minimum(a.max(axis=0), b.max(axis=0))
    shared = float(np.prod(np.clip(high - low, 0, None)))
    total = float(np.prod(np.ptp(a, axis=0)) + np.prod(np.ptp(b, axis=0))) - shared
    return shared / total if total > 0 else 0.0


def _matrices(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """A column of row-major 4x4 matrices as [n, 4, 4]."""
    return _numbers(column).reshape(-1, 4, 4)


def _numbers(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """All numbers of a column of lists without gaps, one after the other."""
    return column.combine_chunks().flatten().to_numpy(zero_copy_only=False).astype(np.float64)
