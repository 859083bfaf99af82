"""A robot hand with its retargeting, from the parameters of the stage or from a dex-retargeting YAML file."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from dex_retargeting.retargeting_config import RetargetingConfig
from dex_retargeting.seq_retarget import SeqRetargeting
from numpy.typing import NDArray

from egoworld_runner import ClipFailed, Params

STAGE = "robot_trajectories"
TIPS = (4, 8, 12, 16, 20)
FREE_BASE = "dummy_"
"""Prefix of the six joints by which a YAML file may let the base float; they are no joints of the robot."""


class RobotHand:
    """One robot hand ready to follow one human hand; ``mirrored`` when the human hand is of the other side."""

    def __init__(self, params: Params, side: str) -> None:
        self.urdf, settings, self.mirrored = _settings(params, side)
        self.urdf_sha256 = hashlib.sha256(self.urdf.read_bytes()).hexdigest()
        self._retargeting = _build(self.urdf, settings)
        optimizer = self._retargeting.optimizer
        self._robot = optimizer.robot
        names: list[str] = self._robot.dof_joint_names
        self._shown = [i for i, name in enumerate(names) if not name.startswith(FREE_BASE)]
        self.joint_names = [names[i] for i in self._shown]
        self._limits = _inner_float32(np.asarray(self._robot.joint_limits, dtype=np.float64))
        indices = np.asarray(optimizer.target_link_human_indices)
        if indices.ndim == 2:
            self._from, self._to = indices
            links = [optimizer.origin_link_names, optimizer.task_link_names]
            self._scaling = float(optimizer.scaling)
        else:
            self._from, self._to = None, indices
            links = [optimizer.body_names]
            self._scaling = 1.0
        self._links = [[self._robot.get_link_index(name) for name in part] for part in links]
        tips = np.isin(self._to, TIPS) & (True if self._from is None else ~np.isin(self._from, TIPS))
        self._tips = tips if tips.any() else np.ones_like(tips)

    def follow(self, points: NDArray[np.float64], low_pass: float) -> NDArray[np.float32]:
        """Joint positions [n x all joints] rad, within the limits, for joints [n x 21 x 3] m in the wrist frame.

        The n frames follow each other; nothing of an earlier call is remembered.
        """
        self._forget()
        fixed = np.zeros(len(self._retargeting.optimizer.idx_pin2fixed))
        raw = np.array([self._retargeting.retarget(self._reference(p), fixed_qpos=fixed) for p in points])
        smooth = smoothed(raw, low_pass).astype(np.float32)
        return np.clip(smooth, self._limits[:, 0], self._limits[:, 1])

    def shown(self, positions: NDArray[np.float32]) -> NDArray[np.float32]:
        """The positions of ``joint_names``, without those of a floating base."""
        return positions[self._shown]

    def tip_error(self, points: NDArray[np.float64], positions: NDArray[np.float32]) -> float:
        """Mean distance in m between the scaled human fingertips and the robot's, as the optimiser measures them."""
        self._robot.compute_forward_kinematics(positions.astype(np.float64))
        at = [np.array([self._robot.get_link_pose(link)[:3, 3] for link in part]) for part in self._links]
        reached = at[0] if self._from is None else at[1] - at[0]
        gap = np.linalg.norm(reached - self._scaling * self._reference(points), axis=1)
        return float(gap[self._tips].mean())

    def _reference(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        return points[self._to] if self._from is None else points[self._to] - points[self._from]

    def _forget(self) -> None:
        self._retargeting.reset()
        pinched = getattr(self._retargeting.optimizer, "projected", None)  # DexPilot: which fingertips touch
        if pinched is not None:
            pinched[:] = False


def smoothed(values: NDArray[np.float64], weight: float) -> NDArray[np.float64]:
    """First-order low-pass along axis 0, forwards and backwards, which cancels the delay; ends start at their value."""
    out = values.copy()
    for order in (range(1, len(out)), range(len(out) - 2, -1, -1)):
        step = order.step
        for i in order:
            out[i] = out[i - step] + weight * (out[i] - out[i - step])
    return out


def _settings(params: Params, side: str) -> tuple[Path, dict[str, Any], bool]:
    urdf, config = str(params["urdf"]), str(params["config"])
    settings = _from_params(params)
    if config:
        file = _file("config", config, side)
        try:
            settings = dict(yaml.safe_load(file.read_text(encoding="utf-8"))["retargeting"])
        except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
            raise ClipFailed(f"{file}: not a dex-retargeting YAML file with a 'retargeting' table ({error})") from error
        urdf = urdf or str(settings.get("urdf_path", ""))
    if not urdf:
        return Path(__file__).parent / f"generic_hand_{side}.urdf", settings, False
    if params["robot_side"] not in ("left", "right"):
        raise ClipFailed(f"{STAGE}.robot_side is '{params['robot_side']}'; valid: left, right")
    return _file("urdf", urdf, side), settings, "{side}" not in urdf and side != params["robot_side"]


def _from_params(params: Params) -> dict[str, Any]:
    kind, wrist = str(params["retargeting"]).lower(), params["wrist_link"]
    links, joints = list(params["target_links"]), [int(joint) for joint in params["human_joints"]]
    if len(links) != len(joints) or not set(joints) <= set(range(21)):
        raise ClipFailed(f"{STAGE}: target_links and human_joints must be of one length, joints from 0 to 20")
    if kind == "vector":
        chosen = {
            "target_origin_link_names": [wrist] * len(links),
            "target_task_link_names": links,
            "target_link_human_indices": [[0] * len(links), joints],
        }
    elif kind == "position":
        chosen = {"target_link_names": links, "target_link_human_indices": joints}
    elif kind == "dexpilot":
        tips = [link for _, link in sorted((j, link) for j, link in zip(joints, links, strict=True) if j in TIPS)]
        chosen = {"wrist_link_name": wrist, "finger_tip_link_names": tips}
    else:
        raise ClipFailed(f"{STAGE}.retargeting is '{kind}'; valid: vector, position, dexpilot")
    return {"type": kind, "scaling_factor": float(params["scaling"]), **chosen}


def _file(name: str, given: str, side: str) -> Path:
    path = Path(given.replace("{side}", side))
    if not path.is_absolute() or not path.is_file():
        reason = "does not exist" if path.is_absolute() else "is not an absolute path"
        raise ClipFailed(f"{STAGE}.{name}: {path} {reason}; give an absolute path, {{side}} in it for left or right")
    return path


def _build(urdf: Path, settings: dict[str, Any]) -> SeqRetargeting:
    """Raises ClipFailed naming the URDF. The library's own filter is off: it delays, being made for live use."""
    with tempfile.TemporaryDirectory(prefix="egoworld-urdf-") as folder:
        usual, tempfile.tempdir = tempfile.tempdir, folder  # the library leaves a copy of the URDF there
        try:
            config = RetargetingConfig.from_dict(settings, {"urdf_path": str(urdf), "low_pass_alpha": -1.0})
            retargeting = config.build()
        except Exception as error:  # a wrong robot fails in many types: XML, URDF, links
            raise ClipFailed(
                f"{STAGE}: {urdf} cannot be retargeted to: {type(error).__name__}: {error}; "
                "check the file, and that the links and joints of the parameters are its own"
            ) from error
        finally:
            tempfile.tempdir = usual
    _in_fixed_order(retargeting.optimizer)
    return retargeting


def _in_fixed_order(optimizer: Any) -> None:
    """Sort the links that the optimiser sums over: it keeps them in a set, whose order changes from run to run."""
    if not hasattr(optimizer, "computed_link_names"):
        return
    names = sorted(optimizer.computed_link_names)
    optimizer.computed_link_names = names
    optimizer.computed_link_indices = optimizer.get_link_indices(names)
    optimizer.origin_link_indices = torch.tensor([names.index(name) for name in optimizer.origin_link_names])
    optimizer.task_link_indices = torch.tensor([names.index(name) for name in optimizer.task_link_names])


def _inner_float32(limits: NDArray[np.float64]) -> NDArray[np.float32]:
    """Limits [n x 2] rounded to float32 towards each other, so that a stored position is never outside."""
    rounded = limits.astype(np.float32)
    low, high = rounded[:, 0], rounded[:, 1]
    low = np.where(low < limits[:, 0], np.nextafter(low, np.float32(np.inf)), low)
    high = np.where(high > limits[:, 1], np.nextafter(high, np.float32(-np.inf)), high)
    return np.stack([low, high], axis=1)
