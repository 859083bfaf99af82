"""What the checks measure in the tables of a draft, read clip by clip."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from egoworld_resources.artifacts.stage import Draft
from egoworld_runner.camera_paths import tremble
from egoworld_runner.hands.judging import LONG_S, STIFF, shape_change
from egoworld_runner.tables import MOVING

MAX_HAND_JUMP = 1.5
MAX_JOINT_SPEED = 40.0
ROWS_AT_ONCE = 1000
HAND = ("frame", "side", "keypoints_2d")


@dataclass(frozen=True)
class Cameras:
    """Registered camera poses that are not rigid; those whose translation nothing can have shown; those of moving
    cameras, and the largest difference of any of these from the identity.
    """

    skewed: int
    invented: int
    moving: int
    farthest: float


def rows_with(draft: Draft, column: str) -> int:
    """Rows in which a column of booleans is true."""
    return sum(int(np.sum(rows[column].to_numpy())) for rows in draft.by_clip(column))


@dataclass(frozen=True)
class StiffHands:
    """The share of all hands that belong to one that never changes its pose, and where the longest of those is."""

    share: float
    where: str


def share_of_one_hand_twice(draft: Draft) -> float:
    """Of the frames with both hands, the share in which their boxes are nearly the same."""
    same, both = 0, 0
    for hands in draft.by_clip(*HAND):
        left, right = (_by_frame(hands, side) for side in ("left", "right"))
        shared = left.keys() & right.keys()
        both += len(shared)
        same += sum(_overlap(left[frame], right[frame]) > 0.8 for frame in shared)
    return same / both if both else 0.0


def share_of_hand_jumps(draft: Draft) -> float:
    """Of the steps from one frame to the next, the share in which a hand moves farther than a hand can."""
    jumps, steps = 0, 0
    for rows in draft.by_clip(*HAND):
        for hands in (_by_frame(rows, side) for side in ("left", "right")):
            moves = [(hands[frame - 1], now) for frame, now in hands.items() if frame - 1 in hands]
            steps += len(moves)
            jumps += sum(_jumps(before, now) for before, now in moves)
    return jumps / steps if steps else 0.0


def stiff_hands(draft: Draft) -> StiffHands:
    """Hands, side by side and clip by clip, whose joints keep one arrangement for all of LONG_S and more."""
    fps = draft.input_table("videos").to_pylist()[0]["fps"] or 30.0
    stiff, rows, longest, where = 0, 0, 0, ""
    for table in draft.by_clip(*HAND):
        for side in ("left", "right"):
            hand = _by_frame(table, side)
            rows += len(hand)
            if len(hand) > LONG_S * fps and shape_change(list(hand.values())) < STIFF:
                stiff += len(hand)
                if len(hand) > longest:
                    longest, where = len(hand), f"{side}, frames {min(hand)} to {max(hand)}"
    return StiffHands(stiff / rows if rows else 0.0, where)


def boxes_outside(draft: Draft) -> int:
    """Boxes that have no area or reach out of the picture; their edges may be on its border."""
    size = draft.input_table("videos").to_pylist()[0]
    bad = 0
    for boxes in draft.by_clip("x0", "y0", "x1", "y1"):
        x0, y0, x1, y1 = (column.to_numpy() for column in boxes.columns)
        good = (x0 >= 0) & (x0 < x1) & (x1 <= size["width"]) & (y0 >= 0) & (y0 < y1) & (y1 <= size["height"])
        bad += int(np.sum(~good))
    return bad


def masks_of_nothing_or_everything(draft: Draft) -> int:
    """Masks without a pixel, or with nearly all of the picture."""
    bad = 0
    for masks in draft.by_clip("area", "width", "height"):
        area, width, height = (np.asarray(column.to_numpy(), dtype=float) for column in masks.columns)
        bad += int(np.sum((area <= 0) | (area >= 0.98 * (width * height))))
    return bad


def cameras(draft: Draft) -> Cameras:
    """The camera poses of all clips together."""
    skewed, invented, moving, farthest = 0, 0, 0, 0.0
    for kind, poses in _camera_paths(draft):
        skewed += int(_skewed(poses).sum())
        if kind == MOVING:
            moving += len(poses)
            farthest = max(farthest, float(np.abs(poses - np.eye(4)).max(initial=0.0)))
        else:
            invented += int(np.any(poses[:, :3, 3] != poses[:1, :3, 3], axis=1).sum())
    return Cameras(skewed, invented, moving, farthest)


def clips_without_parallax(draft: Draft) -> dict[str, list[str]]:
    """Ids of the clips without a frame of a moving camera, by the kind that they have instead; "" for none."""
    found: dict[str, list[str]] = {}
    for rows in draft.by_clip("clip_id", "registered", "kind"):
        kinds = set(rows.filter(pc.field("registered"))["kind"].to_pylist())
        if MOVING not in kinds:
            found.setdefault(max(kinds, default=""), []).append(rows["clip_id"][0].as_py())
    return found


def camera_tremble(draft: Draft) -> float:
    """By how many times itself a moving camera's speed changes from frame to frame, in the worst clip."""
    return max((tremble(poses[:, :3, 3]) for kind, poses in _camera_paths(draft) if kind == MOVING), default=0.0)


def impossible_object_poses(draft: Draft) -> int:
    """Object poses that are not rigid or are behind the camera."""
    bad = 0
    for rows in draft.by_clip("T_camera_object"):
        poses = _matrices(rows["T_camera_object"])
        bad += int((_skewed(poses) | (poses[:, 2, 3] <= 0)).sum())
    return bad


def share_of_joint_jumps(draft: Draft) -> float:
    """Of the steps from one frame to the next, the share in which a joint turns faster than MAX_JOINT_SPEED (rad/s)."""
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
    return fast / steps if steps else 0.0


def _by_frame(hands: pa.Table, side: str) -> dict[int, NDArray[np.float64]]:
    """Keypoints [21x2] px of one side of a clip's hands by frame."""
    rows = hands.filter(pc.field("side") == side)
    points = _numbers(rows["keypoints_2d"]).reshape(-1, 21, 2)
    return dict(zip(rows["frame"].to_pylist(), points, strict=True))


def _jumps(before: NDArray[np.float64], now: NDArray[np.float64]) -> bool:
    """Whether a hand's points [21x2] move farther than a hand can from one frame to the next."""
    size = float(np.ptp(before, axis=0).max()) or 1.0
    return bool(np.linalg.norm(now.mean(axis=0) - before.mean(axis=0)) > MAX_HAND_JUMP * size)


def _camera_paths(draft: Draft) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """The kind and T_world_camera [n, 4, 4] of the registered frames of one clip after the other."""
    for rows in draft.by_clip("registered", "kind", "T_world_camera"):
        rows = rows.filter(pc.field("registered"))
        for kind in rows["kind"].unique().to_pylist():
            yield kind, _matrices(rows.filter(pc.field("kind") == kind)["T_world_camera"])


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
