"""What must hold before an artifact may be used: no silent success.

A check looks at a draft and gives a verdict. One that blocks and fails puts the video into quarantine at that stage;
one that only warns is shown and kept in the manifest.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from egoworld_resources.manifest import Verdict
from egoworld_resources.stage import Check, Draft

MAX_BOTH_SIDES = 0.2
MAX_HAND_JUMP = 1.5
MAX_JOINT_SPEED = 40.0
MAX_SHARE_OF_JUMPS = 0.2
MAX_CAMERA_TREMBLE = 0.8
"""Positions that are noise around a fixed place give 1.2 and more, a moving head about 0.2."""
MIN_STEPS = 8
ROWS_AT_ONCE = 1000
HAND = ("clip_id", "frame", "side", "keypoints_2d")


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
    table = draft.table(*HAND)
    left, right = (_by_frame(table, side) for side in ("left", "right"))
    both = sorted(left.keys() & right.keys())
    same = [k for k in both if _overlap(left[k], right[k]) > 0.8]
    share = len(same) / len(both) if both else 0.0
    return verdict(
        "hands_differ",
        f"left and right are the same hand in {share:.0%} of their frames" if share > MAX_BOTH_SIDES else "",
    )


def hands_move_physically(draft: Draft) -> Verdict:
    """Hands do not jump by more than 1.5 times their own size from one frame to the next, but rarely."""
    table = draft.table(*HAND)
    jumps, steps = 0, 0
    for side in ("left", "right"):
        hands = _by_frame(table, side)
        for clip, frame in hands:
            before = hands.get((clip, frame - 1))
            if before is not None:
                now = hands[clip, frame]
                size = float(np.ptp(before, axis=0).max()) or 1.0
                steps += 1
                jumps += bool(np.linalg.norm(now.mean(axis=0) - before.mean(axis=0)) > MAX_HAND_JUMP * size)
    share = jumps / steps if steps else 0.0
    return verdict(
        "hands_move_physically", f"hands jump in {share:.0%} of frames" if share > MAX_SHARE_OF_JUMPS else ""
    )


def boxes_inside(draft: Draft) -> Verdict:
    """Boxes have an area and touch the picture."""
    x0, y0, x1, y1 = (column.to_numpy() for column in draft.table("x0", "y0", "x1", "y1").columns)
    bad = int(np.sum((x1 <= x0) | (y1 <= y0)))
    return verdict("boxes_inside", f"{bad} boxes have no area" if bad else "")


def masks_not_empty(draft: Draft) -> Verdict:
    """No mask is empty or covers the whole picture."""
    table = draft.table("area", "width", "height")
    area = np.asarray(table["area"].to_numpy(), dtype=float)
    size = np.asarray(table["width"].to_numpy() * table["height"].to_numpy(), dtype=float)
    bad = int(np.sum((area <= 0) | (area >= 0.98 * size)))
    return verdict("masks_not_empty", f"{bad} of {len(area)} masks are empty or cover everything" if bad else "")


def cameras_are_real(draft: Draft) -> Verdict:
    """Registered camera poses are rotations and positions that move, never the identity throughout."""
    rows = draft.table("registered", "T_world_camera").filter(pc.field("registered"))
    if rows.num_rows == 0:
        return verdict("cameras_are_real", "no frame was registered; see the notes of its clips", blocking=False)
    poses = _matrices(rows["T_world_camera"])
    rotations = poses[:, :3, :3]
    skewed = np.abs(rotations @ rotations.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2)) > 1e-3
    if skewed.any():
        return verdict("cameras_are_real", f"{int(skewed.sum())} poses are not rigid")
    if len(poses) > 1 and np.abs(poses - np.eye(4)).max() < 1e-9:
        return verdict("cameras_are_real", "all camera poses are the identity yet marked registered")
    return verdict("cameras_are_real", "")


def cameras_move_smoothly(draft: Draft) -> Verdict:
    """The camera's speed does not change by more than itself from frame to frame."""
    rows = draft.table("clip_id", "frame", "registered", "T_world_camera").filter(pc.field("registered"))
    worst = 0.0
    for clip in rows["clip_id"].unique().to_pylist():
        of_clip = rows.filter(pc.field("clip_id") == clip)
        steps = np.diff(_matrices(of_clip["T_world_camera"])[:, :3, 3], axis=0)
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
    rows = draft.table("T_camera_object")
    if rows.num_rows == 0:
        return verdict("poses_are_rigid", "no object pose could be trusted", blocking=False)
    poses = _matrices(rows["T_camera_object"])
    skewed = np.abs(poses[:, :3, :3] @ poses[:, :3, :3].transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2)) > 1e-3
    behind = poses[:, 2, 3] <= 0
    bad = int((skewed | behind).sum())
    return verdict("poses_are_rigid", f"{bad} poses are not rigid or lie behind the camera" if bad else "")


def joints_move_physically(draft: Draft) -> Verdict:
    """Joints do not turn faster than 40 rad/s, but rarely."""
    fps = draft.input_table("videos").to_pylist()[0]["fps"] or 30.0
    before: dict[tuple[str, str], tuple[int, NDArray[np.float64]]] = {}
    fast, steps = 0, 0
    batches = draft.table("clip_id", "side", "frame", "positions").to_batches(ROWS_AT_ONCE)
    for row in (row for batch in batches for row in batch.to_pylist()):
        key = (row["clip_id"], row["side"])
        now = np.asarray(row["positions"], dtype=np.float64)
        if key in before and before[key][0] == row["frame"] - 1:
            steps += 1
            fast += bool(np.abs(now - before[key][1]).max() * fps > MAX_JOINT_SPEED)
        before[key] = (row["frame"], now)
    share = fast / steps if steps else 0.0
    return verdict(
        "joints_move_physically", f"joints jump in {share:.0%} of frames" if share > MAX_SHARE_OF_JUMPS else ""
    )


def _by_frame(table: pa.Table, side: str) -> dict[tuple[str, int], NDArray[np.float64]]:
    """Keypoints [21x2] px of one side by (clip, frame)."""
    rows = table.filter(pc.field("side") == side).select(["clip_id", "frame", "keypoints_2d"]).to_pylist()
    return {(r["clip_id"], r["frame"]): np.asarray(r["keypoints_2d"], dtype=np.float64).reshape(21, 2) for r in rows}


def _overlap(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Intersection over union of the boxes around two sets of points."""
    low, high = np.maximum(a.min(axis=0), b.min(axis=0)), np.minimum(a.max(axis=0), b.max(axis=0))
    shared = float(np.prod(np.clip(high - low, 0, None)))
    total = float(np.prod(np.ptp(a, axis=0)) + np.prod(np.ptp(b, axis=0))) - shared
    return shared / total if total > 0 else 0.0


def _matrices(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """A column of row-major 4x4 matrices as [n, 4, 4]."""
    return np.asarray(column.to_pylist(), dtype=np.float64).reshape(-1, 4, 4)
