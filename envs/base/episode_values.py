"""What a robot-learning episode holds beside its pictures, on a grid of constant frame rate."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from ego_video import Letterbox
from lerobot_v3 import Feature, vector
from numpy.typing import NDArray

from egoworld_runner import ClipFailed
from egoworld_runner.lenses import FOCAL, MOST_DISTORTION
from egoworld_runner.tables import MOVING, STATIC

SIDES = ("right", "left")
FIRST_OBJECT = 3
"""obj_id 1 and 2 are the hands."""
ROBOT = ("side", "robot", "joint_names")
ROWS_AT_ONCE = 1000
POSE = [f"{row}{column}" for row in range(4) for column in range(4)]


@dataclass(frozen=True)
class JointLayout:
    """Which numbers the state and the action hold: joints of the right hand, then of the left."""

    robot: str
    joints: dict[str, list[str]]

    @property
    def names(self) -> list[str]:
        return [f"{side}.{joint}" for side in SIDES for joint in self.joints[side]]

    @classmethod
    def of(cls, robots: Iterable[pa.Table]) -> JointLayout:
        """From the columns ``ROBOT`` of a whole video's clips; a side never seen gets the other side's joints.

        Raises ClipFailed when one side is served by two robots or two joint orders.
        """
        known = {kind for table in robots for batch in table.to_batches(ROWS_AT_ONCE) for kind in _kinds(batch)}
        found: dict[str, tuple[str, list[str]]] = {}
        for side in SIDES:
            kinds = sorted((robot, joints) for of_side, robot, joints in known if of_side == side)
            if len(kinds) > 1:
                robots_told = ", ".join(f"{robot} ({len(joints)} joints)" for robot, joints in kinds)
                raise ClipFailed(
                    f"robot_trajectories: the {side} hand has more than one joint layout ({robots_told}); "
                    "make robot_trajectories again with one robot per side"
                )
            if kinds:
                found[side] = (kinds[0][0], list(kinds[0][1]))
        if not found:
            return cls("", {side: [] for side in SIDES})
        joints = {side: found[side][1] if side in found else _mirrored(found, side) for side in SIDES}
        return cls("+".join(sorted({robot for robot, _ in found.values()})), joints)


def _kinds(rows: pa.RecordBatch) -> set[tuple[str, str, tuple[str, ...]]]:
    """Side, robot and joint names of some rows, each combination once."""
    columns = (rows.column(name).to_pylist() for name in ROBOT)
    return {(side, robot, tuple(joints)) for side, robot, joints in zip(*columns, strict=True)}


def _mirrored(found: dict[str, tuple[str, list[str]]], side: str) -> list[str]:
    other = "left" if side == "right" else "right"
    return [side + joint.removeprefix(other) if joint.startswith(other) else joint for joint in found[other][1]]


def features(layout: JointLayout, max_objects: int) -> dict[str, Feature]:
    """Declarations of everything but the pictures; a ``valid`` is 1 where measured, 0 where the last value is held."""
    xyz = [f"{point}.{axis}" for point in range(21) for axis in "xyz"]
    xy = [f"{point}.{axis}" for point in range(21) for axis in "xy"]
    slots = range(FIRST_OBJECT, FIRST_OBJECT + max_objects)
    declared = {
        "observation.state": vector(layout.names),
        "action": vector(layout.names),
        "observation.state.valid": vector(SIDES),
    }
    for side in SIDES:
        declared[f"observation.hand.{side}.keypoints_3d"] = vector(xyz)
        declared[f"observation.hand.{side}.keypoints_2d"] = vector(xy)
        declared[f"observation.hand.{side}.valid"] = vector(["valid"])
    declared["observation.camera.T_world_camera"] = vector(POSE)
    declared["observation.camera.intrinsics"] = vector(list(FOCAL))
    declared["observation.camera.distortion"] = vector([str(place) for place in range(MOST_DISTORTION)])
    declared["observation.camera.valid"] = vector(["valid"])
    declared["observation.camera.rotation_valid"] = vector(["valid"])
    declared["observation.camera.lens_valid"] = vector(["valid"])
    if max_objects:
        declared["observation.objects.T_camera_object"] = vector([f"{obj}.{at}" for obj in slots for at in POSE])
        declared["observation.objects.valid"] = vector([f"{obj}.valid" for obj in slots])
    return declared


def grid(times: NDArray[np.float64], start: int, end: int, fps: int) -> NDArray[np.int64]:
    """The frame nearest to each multiple of 1/fps from the clip's first frame (the earlier one of two).

    A variable frame rate becomes a constant one on purpose: a policy learns from equal steps.
    """
    span = times[start:end]
    count = int(np.floor((span[-1] - span[0]) * fps + 1e-6)) + 1
    wanted = span[0] + np.arange(count) / fps
    after = np.clip(np.searchsorted(span, wanted), min(1, len(span) - 1), len(span) - 1)
    before = np.maximum(after - 1, 0)
    return start + np.where(wanted - span[before] <= span[after] - wanted + 1e-9, before, after)


@dataclass(frozen=True)
class Held:
    """One quantity over the frames of a clip: values [n, size] with gaps filled, and where they were measured [n]."""

    values: NDArray[np.float64]
    valid: NDArray[np.bool_]

    @classmethod
    def of(cls, table: pa.Table, column: str, span: tuple[int, int], empty: Sequence[float]) -> Held:
        """Gaps keep the last value, a gap at the start takes the first one, nothing at all gives ``empty``."""
        start, end = span
        table = table.filter(pc.is_valid(table[column]))
        valid = np.zeros(end - start, dtype=np.bool_)
        values = np.tile(np.asarray(empty, dtype=np.float64), (end - start, 1))
        if len(table) == 0:
            return cls(values, valid)
        at = table["frame"].to_numpy().astype(np.int64)[::-1] - start
        flat = table[column].combine_chunks().flatten().to_numpy(zero_copy_only=False).astype(np.float64)
        values[at] = flat.reshape(len(table), -1)[::-1]
        valid[at] = True
        source = np.maximum.accumulate(np.where(valid, np.arange(end - start), -1))
        source[source < 0] = int(valid.argmax())
        return cls(values[source], valid)


def select(table: pa.Table, **equal: object) -> pa.Table:
    """Rows whose columns equal the given values."""
    for column, value in equal.items():
        table = table.filter(pc.equal(table[column], value))
    return table


def values_of_clip(
    tables: dict[str, pa.Table],
    layout: JointLayout,
    letterbox: Letterbox,
    span: tuple[int, int],
    frames: NDArray[np.int64],
    max_objects: int,
) -> dict[str, NDArray[np.float64]]:
    """Every feature but the pictures, [len(frames), size], from one clip's rows; ``frames`` comes from ``grid``."""
    at = frames - span[0]
    state = [
        Held.of(select(tables["robot_trajectories"], side=side), "positions", span, [0.0] * len(layout.joints[side]))
        for side in SIDES
    ]
    joined = np.concatenate([held.values[at] for held in state], axis=1)
    made = {
        "observation.state": joined,
        "action": np.concatenate([joined[1:], joined[-1:]]),
        "observation.state.valid": np.stack([held.valid[at] for held in state], axis=1).astype(np.float64),
    }
    for side in SIDES:
        rows = select(tables["hand_poses"], side=side)
        held_3d = Held.of(rows, "keypoints_3d", span, [0.0] * 63)
        held_2d = Held.of(rows, "keypoints_2d", span, [0.0] * 42)
        canvas = letterbox.points(held_2d.values[at].reshape(-1, 21, 2)).reshape(-1, 42)
        made[f"observation.hand.{side}.keypoints_3d"] = held_3d.values[at]
        made[f"observation.hand.{side}.keypoints_2d"] = canvas if held_2d.valid.any() else canvas * 0.0
        made[f"observation.hand.{side}.valid"] = (held_3d.valid & held_2d.valid)[at, None].astype(np.float64)
    made.update(_camera(tables["reconstructions"], letterbox, span, at))
    if max_objects:
        made.update(_objects(tables["object_poses"], span, at, max_objects))
    return made


def _camera(
    table: pa.Table, letterbox: Letterbox, span: tuple[int, int], at: NDArray[np.int64]
) -> dict[str, NDArray[np.float64]]:
    """A pose without a translation that was measured has a valid rotation alone; the lens is that of the canvas."""
    registered = select(table, registered=True)
    placed = registered.filter(pc.is_in(registered["kind"], pa.array([MOVING, STATIC])))
    camera = Held.of(registered, "T_world_camera", span, np.eye(4).reshape(-1).tolist())
    whole = Held.of(placed, "T_world_camera", span, np.eye(4).reshape(-1).tolist())
    lens = Held.of(table, "intrinsics", span, [0.0] * 4)
    bent = [[*row, *[0.0] * (MOST_DISTORTION - len(row))] for row in table["distortion"].to_pylist()]
    padded = pa.table({"frame": table["frame"], "distortion": pa.array(bent, pa.list_(pa.float64(), MOST_DISTORTION))})
    distortion = Held.of(padded, "distortion", span, [0.0] * MOST_DISTORTION)
    return {
        "observation.camera.T_world_camera": camera.values[at],
        "observation.camera.intrinsics": letterbox.intrinsics(lens.values[at]) if lens.valid.any() else lens.values[at],
        "observation.camera.distortion": distortion.values[at],
        "observation.camera.valid": whole.valid[at, None].astype(np.float64),
        "observation.camera.rotation_valid": camera.valid[at, None].astype(np.float64),
        "observation.camera.lens_valid": lens.valid[at, None].astype(np.float64),
    }


def _objects(
    table: pa.Table, span: tuple[int, int], at: NDArray[np.int64], count: int
) -> dict[str, NDArray[np.float64]]:
    slots = range(FIRST_OBJECT, FIRST_OBJECT + count)
    held = [
        Held.of(select(table, obj_id=obj), "T_camera_object", span, np.eye(4).reshape(-1).tolist()) for obj in slots
    ]
    return {
        "observation.objects.T_camera_object": np.concatenate([one.values[at] for one in held], axis=1),
        "observation.objects.valid": np.stack([one.valid[at] for one in held], axis=1).astype(np.float64),
    }
