# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# (pycocotools ships no types)
"""Errors of an estimate against the truth: alignments, rays on known surfaces, overlaps. No stage is known here.

Lengths keep the unit that they come in; pixels have the centre of the top left one at (0, 0); `T_a_b` maps b into a.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

Array = NDArray[np.float64]
Rle = dict[str, Any]
"""A mask as COCO has it: size [height, width] and compressed counts."""

MIN_POINTS = 3


@dataclass(frozen=True)
class Similarity:
    """A map x -> scale * rotation @ x + offset of 3-D points."""

    scale: float
    rotation: Array
    offset: Array

    def of(self, points: Array) -> Array:
        """Points [n x 3] mapped."""
        return self.scale * points @ self.rotation.T + self.offset


def umeyama(source: Array, target: Array) -> Similarity:
    """The similarity that takes source [n x 3] to target [n x 3] with the least squared distance.

    Raises ValueError for fewer than three points or a source without extent. Source: Umeyama, "Least-squares
    estimation of transformation parameters between two point patterns", PAMI 1991.
    """
    if source.shape != target.shape or len(source) < MIN_POINTS:
        raise ValueError(
            f"an alignment needs {MIN_POINTS} or more pairs of points; got {len(source)} and {len(target)}"
        )
    centre, goal = source.mean(axis=0), target.mean(axis=0)
    spread = _mean_square(source - centre)
    if spread <= np.finfo(np.float64).tiny:
        raise ValueError("all points are the same; there is nothing to align")
    u, singular, vt = np.linalg.svd((target - goal).T @ (source - centre) / len(source))
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = u @ np.diag(signs) @ vt
    scale = float(singular @ signs) / spread
    return Similarity(scale, rotation, goal - scale * rotation @ centre)


def trajectory_error(estimated: Array, true: Array) -> float:
    """Absolute trajectory error: RMSE of positions [n x 3] after the best similarity, in the unit of the truth.

    Source: Sturm et al., "A benchmark for the evaluation of RGB-D SLAM systems", IROS 2012; errors as umeyama.
    """
    gaps = umeyama(estimated, true).of(estimated) - true
    return float(np.sqrt(_mean_square(gaps)))


def _mean_square(vectors: Array) -> float:
    return float(np.sum(vectors**2)) / len(vectors)


def path_length(positions: Array) -> float:
    """Length of the way through positions [n x 3]."""
    return float(np.linalg.norm(np.diff(positions, axis=0), axis=1).sum())


def rotation_angles(a: Array, b: Array) -> Array:
    """Angles [n] in degrees between rotations [n x 3 x 3]; exact near zero, where the arc cosine is not."""
    sines = np.linalg.norm(a - b, axis=(1, 2)) / np.sqrt(8.0)
    return np.degrees(2.0 * np.arcsin(np.clip(sines, 0.0, 1.0)))


def mean_rotation(rotations: Array) -> Array:
    """The rotation [3x3] nearest to all of [n x 3 x 3] in the chordal distance.

    Source: Hartley et al., "Rotation averaging", IJCV 2013, section 5.3.
    """
    u, _, vt = np.linalg.svd(rotations.sum(axis=0))
    return u @ np.diag([1.0, 1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))]) @ vt


def orientation_errors(estimated: Array, true: Array) -> Array:
    """Angles [n] in degrees between rotations R_world_camera [n x 3 x 3] after the best rotation of the world."""
    if len(estimated) == 0:
        return np.zeros(0)
    turn = mean_rotation(true @ estimated.transpose(0, 2, 1))
    return rotation_angles(turn @ estimated, true)


def object_pose_errors(estimated: Array, true: Array, scale: float) -> tuple[Array, Array]:
    """Rotation errors [n] in degrees and translation errors [n] of poses T_camera_object [n x 4 x 4].

    scale: the truth's unit over the estimate's. The choice of an object's own frame is arbitrary, so one rigid
    transform from the true to the estimated object frame is solved for over all poses first.
    """
    turns, true_turns = estimated[:, :3, :3], true[:, :3, :3]
    back = turns.transpose(0, 2, 1)
    turn = mean_rotation(back @ true_turns)
    gaps = true[:, :3, 3] - scale * estimated[:, :3, 3]
    offset = np.einsum("nij,nj->ni", back, gaps).mean(axis=0)
    return rotation_angles(turns @ turn, true_turns), np.linalg.norm(gaps - turns @ offset, axis=1)


def rigid_inverse(poses: Array) -> Array:
    """Inverses of rigid transforms [... x 4 x 4]."""
    out = np.zeros_like(poses)
    turned = np.swapaxes(poses[..., :3, :3], -1, -2)
    out[..., :3, :3] = turned
    out[..., :3, 3] = -np.einsum("...ij,...j->...i", turned, poses[..., :3, 3])
    out[..., 3, 3] = 1.0
    return out


def transformed(poses: Array, points: Array) -> Array:
    """Points [n x 3], each mapped by its own transform [n x 4 x 4] or all by one [4 x 4]."""
    return np.einsum("...ij,...j->...i", poses[..., :3, :3], points) + poses[..., :3, 3]


def project(intrinsics: Array, points: Array) -> Array:
    """Pixels [n x 2] of camera-frame points [n x 3], NaN behind the camera; intrinsics fx, fy, cx, cy, also [n x 4]."""
    depth = np.where(points[:, 2] > 0, points[:, 2], np.nan)
    return points[:, :2] / depth[:, None] * intrinsics[..., :2] + intrinsics[..., 2:]


def viewing_rays(intrinsics: Array, pixels: Array) -> Array:
    """Camera-frame directions [n x 3] with z = 1 through pixels [n x 2]; intrinsics fx, fy, cx, cy."""
    return np.column_stack([(pixels - intrinsics[2:]) / intrinsics[:2], np.ones(len(pixels))])


def hit_box(origin: Array, rays: Array, size: Array) -> Array:
    """How many times each ray [n x 3] from origin [3] fits until it enters a box of size [3]; inf where it misses.

    All in the frame of the box, whose centre is its origin. Source: Kay and Kajiya, "Ray tracing complex scenes",
    SIGGRAPH 1986 (slabs).
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = (-size / 2 - origin) / rays, (size / 2 - origin) / rays
    near, far = np.fmin(low, high).max(axis=1), np.fmax(low, high).min(axis=1)
    return np.where((near <= far) & (near > 0), near, np.inf)


@dataclass(frozen=True)
class Rectangles:
    """Rectangles seen from one side: corner, edges across and down [m x 3], and the part of each that is there.

    windows [m x 4]: left, top, right, bottom as fractions of the edges. The normal across x down points away from
    those who see them.
    """

    corners: Array
    across: Array
    down: Array
    windows: Array

    def hit(self, origin: Array, rays: Array) -> Array:
        """How many times each ray [n x 3] from origin [3] fits until the nearest rectangle; inf where there is none."""
        normals = np.cross(self.across, self.down)
        heights = np.sum(normals * (self.corners - origin), axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            times = heights / (rays @ normals.T)
            points = origin + times[..., None] * rays[:, None]
            u, v = ((points - self.corners) * e / np.sum(e * e, axis=1)[:, None] for e in (self.across, self.down))
            u, v = u.sum(axis=2), v.sum(axis=2)
            left, top, right, bottom = self.windows.T
            inside = (u >= left) & (u <= right) & (v >= top) & (v <= bottom)
        seen = inside & (times > 0) & (heights > 0)
        return np.where(seen, times, np.inf).min(axis=1, initial=np.inf)


def mask_iou(found: Sequence[Rle], true: Sequence[Rle]) -> float:
    """Intersection over union (0-1) of the union of some masks and the union of others; two empty ones agree (1)."""
    if not found or not true:
        return float(not found and not true)
    both: list[Any] = [coco.merge(list[Any](found)), coco.merge(list[Any](true))]
    total = float(coco.area(coco.merge(both)))
    return float(coco.area(coco.merge(both, intersect=True))) / total if total else 1.0


def box_diagonal(points: Array) -> float:
    """Diagonal of the upright box around points [n x 2]."""
    return float(np.linalg.norm(np.ptp(points, axis=0)))


def joint_limits(urdf: Path) -> dict[str, tuple[float, float]]:
    """Lower and upper limit (rad or m) by name of the joints of a URDF that have them."""
    found: dict[str, tuple[float, float]] = {}
    for joint in ET.parse(urdf).iter("joint"):
        limit = joint.find("limit")
        if limit is not None and joint.get("type") in ("revolute", "prismatic"):
            found[joint.get("name", "")] = (float(limit.get("lower", 0)), float(limit.get("upper", 0)))
    return found
