"""HOT3D's sample: hands, objects and the headset of a real recording, without its pictures.

Lengths are m, pixels those of one of the headset's cameras, `T_a_b` maps b into a.
Source: Banerjee et al., "HOT3D", CVPR 2025; the hand model is that of Han et al., "UmeTrack", SIGGRAPH Asia 2022.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from egoworld_resources.sample import truth_errors

Array = NDArray[np.float64]
RECORDING = "hot3d/hot3d/data_loaders/tests/data_sample/Quest3/P0002_273c2819"
CAMERA = "1201-1"
SIDES = {"0": "left", "1": "right"}
FINGERS = 5
CHAIN = 4
"""Joints of a finger, from the palm outwards; each turns about a fixed axis through its place in the flat hand."""
KNUCKLES = ((1, 2, 3), (5, 6, 7), (9, 10, 11), (13, 14, 15), (17, 18, 19))
"""The joints of each finger that MediaPipe's 21 have too, thumb first; its tips are the model's landmarks 0 to 4."""


def rigid(t_xyz: Any, q_wxyz: Any) -> Array:
    """A transform [4 x 4] from a place and a quaternion."""
    pose = np.eye(4)
    w, x, y, z = (float(value) for value in q_wxyz)
    pose[:3, :3] = Rotation.from_quat([x, y, z, w]).as_matrix()
    pose[:3, 3] = [float(value) for value in t_xyz]
    return pose


@dataclass(frozen=True)
class Hot3d:
    """One recording of the sample, its frames by number from 0."""

    folder: Path

    @classmethod
    def of(cls, data: Path) -> Hot3d:
        return cls(data / RECORDING)

    def _lines(self, name: str) -> list[Any]:
        return [json.loads(line) for line in (self.folder / name).read_text(encoding="utf-8").splitlines()]

    def _table(self, name: str) -> list[dict[str, str]]:
        with (self.folder / name).open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    @property
    def times(self) -> list[int]:
        """Time of each frame, ns."""
        return [int(row["timestamp[ns]"]) for row in self._table("headset_trajectory.csv")]

    def _poses(self, name: str) -> Iterator[tuple[str, int, Array]]:
        """Object, time and T_world_object of the rows of a table of poses."""
        for row in self._table(name):
            place, turn = ([row[f"{kind}{axis}"] for axis in axes] for kind, axes in (
                ("t_wo_", ("x[m]", "y[m]", "z[m]")), ("q_wo_", ("w", "x", "y", "z"))))  # fmt: skip
            yield row["object_uid"], int(row["timestamp[ns]"]), rigid(place, turn)

    @property
    def lens(self) -> dict[str, Any]:
        cameras = json.loads((self.folder / "camera_models.json").read_text(encoding="utf-8"))
        return next(camera for camera in cameras if camera["stream_id"] == CAMERA)

    @property
    def t_world_camera(self) -> Array:
        """Poses of the camera [n x 4 x 4]."""
        at = self.lens["T_Device_Camera"]
        t_device_camera = rigid(at["translation_xyz"], at["quaternion_wxyz"])
        return np.array([pose @ t_device_camera for _, _, pose in self._poses("headset_trajectory.csv")])

    def objects(self) -> dict[str, Array]:
        """T_world_object [n x 4 x 4] by object."""
        found: dict[str, list[Array]] = {}
        for uid, _, pose in self._poses("dynamic_objects.csv"):
            found.setdefault(uid, []).append(pose)
        return {uid: np.array(poses) for uid, poses in found.items()}

    def hands(self) -> dict[str, Array]:
        """MediaPipe's 21 joints in the camera [n x 21 x 3] by side."""
        model = json.loads((self.folder / "umetrack_hand_user_profile.json").read_text(encoding="utf-8"))["hand_model"]
        found: dict[str, list[Array]] = {side: [] for side in SIDES.values()}
        for line, pose in zip(self._lines("umetrack_hand_pose_trajectory.jsonl"), self.t_world_camera, strict=True):
            for hand, side in SIDES.items():
                given = line["hand_poses"][hand]
                t_world_wrist = rigid(given["wrist_xform"]["t_xyz"], given["wrist_xform"]["q_wxyz"])
                joints = hand_joints(model, given["joint_angles"], mirrored=side == "right")
                found[side].append(truth_errors.transformed(truth_errors.rigid_inverse(pose) @ t_world_wrist, joints))
        return {side: np.array(joints) for side, joints in found.items()}

    def hand_boxes(self) -> dict[tuple[str, int], Array]:
        """The box [x_min, y_min, x_max, y_max] around each hand's surface in the camera, by side and time, px."""
        return {
            (SIDES[row["hand_index"]], int(row["timestamp[ns]"])): np.array(
                [float(row[f"{edge}[pixel]"]) for edge in ("x_min", "y_min", "x_max", "y_max")]
            )
            for row in self._table("box2d_hands.csv")
            if row["stream_id"] == CAMERA
        }

    def pixels(self, points: Array) -> Array:
        """Where camera-frame points [... x 3] are seen [... x 2], by the camera's fisheye lens.

        Source: Project Aria's documentation of the model FisheyeRadTanThinPrism, here without its thin prism.
        """
        fx, fy, cx, cy, *rest = self.lens["projectionParams"]
        radial, tangential = np.array(rest[:6]), np.array(rest[6:8])
        assert not np.any(rest[8:])
        flat = points[..., :2] / points[..., 2:]
        far = np.linalg.norm(flat, axis=-1, keepdims=True)
        angle = np.arctan(far)
        at = flat / far * angle * (1 + sum(k * angle ** (2 * n) for n, k in enumerate(radial, 1)))
        square = np.sum(at**2, axis=-1, keepdims=True)
        at = at * (1 + 2 * np.sum(at * tangential, axis=-1, keepdims=True)) + square * tangential
        return at * np.array([fx, fy]) + np.array([cx, cy])


def hand_joints(model: dict[str, Any], angles: list[float], mirrored: bool) -> Array:
    """MediaPipe's 21 joints [21 x 3] in the wrist's frame, m, of a hand of the model bent by 20 angles.

    The model is a left hand in mm; mirrored: a right one.
    """
    places, axes = np.array(model["joint_rest_positions"]), np.array(model["joint_rotation_axes"])
    tips = np.array(model["landmark_rest_positions"])[:FINGERS]
    joints = [np.zeros(3)]
    for finger in range(FINGERS):
        bent, ends = np.eye(4), []
        for joint in range(CHAIN * finger, CHAIN * (finger + 1)):
            turn = np.eye(4)
            turn[:3, :3] = Rotation.from_rotvec(angles[joint] * axes[joint]).as_matrix()
            turn[:3, 3] = places[joint] - turn[:3, :3] @ places[joint]
            ends.append(truth_errors.transformed(bent, places[joint]))
            bent = bent @ turn
        joints += [ends[joint - CHAIN * finger] for joint in KNUCKLES[finger]]
        joints.append(truth_errors.transformed(bent, tips[finger]))
    return np.array(joints) * ([-1, 1, 1] if mirrored else [1, 1, 1]) / 1000
