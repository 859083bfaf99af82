"""dex-retargeting: joint positions of a robot hand that follow a human hand."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from hand_frame import MIRROR, wrist_aligned
from numpy.typing import NDArray

from egoworld_runner import Clip, ClipFailed, Inputs, Params, Runner, tables

GAP_S = 0.3
"""The solver starts afresh for a hand that was gone for longer: the last pose says nothing about the next one, s."""


class DexRetarget(Runner):
    """One robot pose for every hand pose with keypoints_3d; left and right hands are followed apart.

    positions: rad (m for a prismatic joint), in the order of joint_names, within the limits of the URDF. tip_error: m,
    the mean distance between the human fingertips, scaled, and the robot's, after filtering and limits.
    Source: Qin et al., "AnyTeleop", RSS 2023, arXiv:2307.04577 (vector, position); Handa et al., "DexPilot", ICRA 2020,
    arXiv:1910.03135 (dexpilot).
    """

    writes = (tables.RobotPose,)

    def setup(self, weights: Mapping[str, Path], device: str) -> None:
        """Import the libraries, single-threaded, so that sums are always taken in one order."""
        import torch

        torch.set_num_threads(1)
        logging.getLogger("dex_retargeting").setLevel(logging.CRITICAL)  # it misses meshes, which nothing here needs
        from robot_hand import RobotHand

        self._robot_hand = RobotHand

    def run(self, clip: Clip, inputs: Inputs, params: Params) -> Iterator[tables.Row]:
        """One row per hand and frame, by frame, then side."""
        if not 0 < params["low_pass"] <= 1:
            raise ClipFailed(f"robot_trajectories.low_pass is {params['low_pass']}; set it above 0 and up to 1")
        given = [row for row in inputs.rows("hand_poses") if row["keypoints_3d"] is not None]
        rows: list[tables.RobotPose] = []
        for side in ("left", "right"):
            poses = [row for row in given if row["side"] == side]
            if poses:
                rows.extend(self._one_side(clip, poses, side, params))
        rows.sort(key=lambda row: (row.frame, row.side))
        clip.note("hand_poses_left_out", len(given) - len(rows))
        if rows:
            clip.note("mean_tip_error_m", round(float(np.mean([row.tip_error for row in rows])), 6))
        yield from rows

    def _one_side(
        self, clip: Clip, poses: list[dict[str, Any]], side: str, params: Params
    ) -> Iterator[tables.RobotPose]:
        robot = self._robot_hand(params, side)
        clip.note(f"urdf_sha256_{side}", robot.urdf_sha256)
        for frames, points in _runs(clip, poses, side):
            seen = points * MIRROR if robot.mirrored else points
            for frame, human, positions in zip(frames, seen, robot.follow(seen, params["low_pass"]), strict=True):
                error = robot.tip_error(human, positions)
                yield tables.RobotPose(frame, side, params["robot"], robot.joint_names, robot.shown(positions), error)
            clip.progress(frames[-1])


def _runs(clip: Clip, poses: list[dict[str, Any]], side: str) -> Iterator[tuple[list[int], NDArray[np.float64]]]:
    """Frames and joints [n x 21 x 3] in the wrist frame, cut where the hand was gone for longer than GAP_S."""
    frames: list[int] = []
    points: list[NDArray[np.float64]] = []
    for pose in sorted(poses, key=lambda row: row["frame"]):
        aligned = wrist_aligned(np.asarray(pose["keypoints_3d"], dtype=np.float64).reshape(21, 3), side)
        if aligned is None:
            continue
        time = clip.index.time_s
        if frames and time[pose["frame"]] - time[frames[-1]] > GAP_S:
            yield frames, np.array(points)
            frames, points = [], []
        frames.append(pose["frame"])
        points.append(aligned)
    if frames:
        yield frames, np.array(points)
