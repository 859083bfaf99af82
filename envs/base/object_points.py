"""Points of one rigid object: triangulated from frames of known pose, and the pose that points give a frame.

Everything is in normalised image coordinates (x/z, y/z, no distortion). ``poses`` [n, 4, 4] map the object's frame
into the camera's; ``seen`` [m, n, 2] holds where each of m tracks was seen in each of n frames, NaN where not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

REFINEMENTS = 4
IDENTITY = np.eye(3)
FEWEST = 6
MOST_CONDITION = 1e14


@dataclass(frozen=True)
class Triangulated:
    """Points [m, 3], the widest angle (rad) that each was seen under [m], and which observations agree [m, n]."""

    points: Array
    angle: Array
    agree: Flags
    used: Flags


def residuals(points: Array, poses: Array, seen: Array) -> Array:
    """Distance between where points project and where they were seen [m, n]; infinite behind a camera or unseen."""
    local = np.einsum("nij,mj->mni", poses[:, :3, :3], points) + poses[None, :, :3, 3]
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.linalg.norm(local[..., :2] / local[..., 2:] - seen, axis=-1)
    return np.where((local[..., 2] > 1e-6) & np.isfinite(error), error, np.inf)


def triangulate(poses: Array, seen: Array, limit: float) -> Triangulated:
    """Every track's point: linear (Hartley and Zisserman 2004, 12.2), then Gauss-Newton on what agrees within limit."""
    used = np.isfinite(seen).all(axis=-1)
    xy = np.where(used[..., None], seen, 0.0)
    rows = xy[..., None] * poses[None, :, None, 2, :] - poses[None, :, :2, :]
    rows = rows * used[..., None, None]
    _, vectors = np.linalg.eigh(np.einsum("mnki,mnkj->mij", rows, rows))
    null = vectors[:, :, 0]
    scale = np.where(np.abs(null[:, 3:]) < 1e-12, 1e-12, null[:, 3:])
    points = null[:, :3] / scale
    for _ in range(REFINEMENTS):
        points = points + _newton(points, poses, xy, used, limit)
    agree = used & (residuals(points, poses, seen) < limit)
    return Triangulated(points, _angles(points, poses, agree), agree, used)


def _newton(points: Array, poses: Array, xy: Array, used: Flags, limit: float) -> Array:
    """One Gauss-Newton step of every point, its observations weighted by how well they agree (Geman and McClure)."""
    rotation = poses[:, :3, :3]
    local = np.einsum("nij,mj->mni", rotation, points) + poses[None, :, :3, 3]
    depth = np.where(np.abs(local[..., 2]) < 1e-9, 1e-9, local[..., 2])
    image = local[..., :2] / depth[..., None]
    error = xy - image
    jacobian = (rotation[None, :, :2, :] - image[..., None] * rotation[None, :, 2:, :]) / depth[..., None, None]
    weight = used / (1.0 + (error**2).sum(axis=-1) / limit**2) ** 2
    normal = np.einsum("mn,mnki,mnkj->mij", weight, jacobian, jacobian)
    normal += (1e-9 * np.trace(normal, axis1=1, axis2=2) + 1e-12)[:, None, None] * IDENTITY
    step = np.linalg.solve(normal, np.einsum("mn,mnki,mnk->mi", weight, jacobian, error)[..., None])[..., 0]
    return np.where(np.isfinite(step), step, 0.0)


def _angles(points: Array, poses: Array, agree: Flags) -> Array:
    """The widest angle between the first ray to a point and any other."""
    centres = -np.einsum("nji,nj->ni", poses[:, :3, :3], poses[:, :3, 3])
    rays = points[:, None] - centres[None]
    rays = rays / np.maximum(np.linalg.norm(rays, axis=-1, keepdims=True), 1e-12)
    first = rays[np.arange(len(points)), agree.argmax(axis=1)]
    cosine = np.where(agree, np.einsum("mni,mi->mn", rays, first), 1.0)
    return np.arccos(np.clip(cosine.min(axis=1, initial=1.0), -1.0, 1.0))


@dataclass(frozen=True)
class Fit:
    """A pose [4, 4], how many points agree and their share, how far an error of 1 in each would turn it (rad)."""

    pose: Array
    agreeing: int
    share: float
    turn_per_error: float


def judge(points: Array, seen: Array, pose: Array, limit: float) -> Fit:
    """How well points [m, 3] seen at [m, 2] agree with a pose."""
    agree = residuals(points, pose[None], seen[:, None])[:, 0] < limit
    count = int(agree.sum())
    return Fit(pose, count, count / max(1, len(points)), _turn_per_error(points[agree], pose))


def _turn_per_error(points: Array, pose: Array) -> float:
    """The largest standard deviation of the rotation (rad) under unit noise, from the Jacobian of the projection."""
    if len(points) < 4:
        return float("inf")
    turned = points @ pose[:3, :3].T
    x, y, z = (turned + pose[:3, 3]).T
    zero = np.zeros_like(x)
    by_place = np.stack([np.stack([1 / z, zero, -x / z**2], -1), np.stack([zero, 1 / z, -y / z**2], -1)], 1)
    offset = turned - turned.mean(axis=0)
    by_turn = np.cross(offset[:, None, :], by_place)
    jacobian = np.concatenate([by_turn, by_place], axis=-1).reshape(-1, 6)
    normal = jacobian.T @ jacobian
    if np.linalg.cond(normal) > MOST_CONDITION:
        return float("inf")
    return float(np.sqrt(np.linalg.eigvalsh(np.linalg.inv(normal)[:3, :3])[-1]))


def solve(points: Array, seen: Array, near: Array | None, limit: float) -> Fit | None:
    """The pose of points [m, 3] seen at [m, 2], None below six of them.

    Two tries compete: RANSAC from nothing, and the pose of a neighbouring frame, which settles the two-fold ambiguity
    of a flat object. Both are refined on the points that agree (Levenberg-Marquardt).
    """
    if len(points) < FEWEST:
        return None
    tries = [near] if near is not None else []
    cv2.setRNGSeed(0)
    ok, turn, shift, _ = cv2.solvePnPRansac(
        points,
        seen,
        IDENTITY,
        None,
        iterationsCount=200,
        reprojectionError=limit,
        confidence=0.999,
        flags=cv2.SOLVEPNP_SQPNP,
    )
    if ok:
        tries.append(_matrix(turn, shift))
    best: tuple[float, Array] | None = None
    for pose in tries:
        refined = _refined_where_it_agrees(points, seen, pose, limit)
        error = residuals(points, refined[None], seen[:, None])[:, 0]
        cost = float(np.minimum(error / limit, 1.0).sum())
        if best is None or cost < best[0] - 1e-6:
            best = cost, refined
    return None if best is None else judge(points, seen, best[1], limit)


def _refined_where_it_agrees(points: Array, seen: Array, pose: Array, limit: float) -> Array:
    for widen in (3.0, 1.0, 1.0):
        agree = residuals(points, pose[None], seen[:, None])[:, 0] < widen * limit
        if agree.sum() >= FEWEST:
            pose = _refined(points[agree], seen[agree], pose)
    return pose


def _refined(points: Array, seen: Array, pose: Array) -> Array:
    turn, _ = cv2.Rodrigues(pose[:3, :3])
    turn, shift = cv2.solvePnPRefineLM(points, seen, IDENTITY, None, turn, pose[:3, 3:].copy())
    return _matrix(turn, shift)


def _matrix(turn: Any, shift: Any) -> Array:
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = cv2.Rodrigues(turn)[0], np.asarray(shift).reshape(3)
    return pose
