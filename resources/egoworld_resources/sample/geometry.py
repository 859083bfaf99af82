"""Poses, projection and the smooth curves that motions follow.

World: metres, x right, y away from the person, z up, origin on the floor under the middle of the table.
Camera: OpenCV axes, x right, y down, z forward; the centre of the top left pixel is (0, 0).
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Floats = NDArray[np.float32]
Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]


def rotation(axis: Array, angle: float) -> Array:
    """Rotation [3x3] by `angle` radians about a unit `axis` (Rodrigues)."""
    x, y, z = axis
    k = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + np.sin(angle) * k + (1.0 - np.cos(angle)) * (k @ k)


def yaw(angle: float) -> Array:
    """Rotation [3x3] about the world's up axis."""
    return rotation(np.array([0.0, 0.0, 1.0]), angle)


def pose(rot: Array, at: Array) -> Array:
    """Pose [4x4] from a rotation [3x3] and a position [3] in metres."""
    out = np.eye(4)
    out[:3, :3], out[:3, 3] = rot, at
    return out


def inverse(t: Array) -> Array:
    """Inverse of a rigid pose [4x4]."""
    return pose(t[:3, :3].T, -t[:3, :3].T @ t[:3, 3])


def apply(t: Array, points: Array) -> Array:
    """Points [..., 3] mapped by a pose [4x4]."""
    return points @ t[:3, :3].T + t[:3, 3]


def unit(v: Array) -> Array:
    """The vector [3] at length one."""
    return v / np.linalg.norm(v)


def look_at(eye: Array, target: Array, roll: float = 0.0) -> Array:
    """T_world_camera [4x4] of a camera at `eye` that looks at `target`, the horizon tilted by `roll` radians."""
    forward = unit(target - eye)
    right = unit(np.cross(forward, np.array([0.0, 0.0, 1.0])))
    upright = np.stack([right, np.cross(forward, right), forward], axis=1)
    return pose(upright @ rotation(np.array([0.0, 0.0, 1.0]), roll), eye)


def project(intrinsics: Array, points: Array) -> Array:
    """Pixels [..., 2] of camera-frame points [..., 3] under a pinhole [3x3] without distortion."""
    image = points @ intrinsics.T
    return image[..., :2] / image[..., 2:]


def ease(u: float) -> float:
    """Minimum-jerk progress 0..1 (Flash and Hogan 1985) at the fraction `u` of a motion."""
    u = min(max(u, 0.0), 1.0)
    return u**3 * (10.0 + u * (6.0 * u - 15.0))


def blend_rotations(start: Array, end: Array, u: float) -> Array:
    """Rotation [3x3] at the fraction `u` of the shortest turn from `start` to `end`."""
    turn = start.T @ end
    angle = float(np.arccos(np.clip((np.trace(turn) - 1.0) / 2.0, -1.0, 1.0)))
    if angle < 1e-9:
        return start
    axis = np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]])
    return start @ rotation(unit(axis), u * angle)


def blend_poses(start: Array, end: Array, u: float) -> Array:
    """Pose [4x4] at the fraction `u` from `start` to `end`."""
    return pose(blend_rotations(start[:3, :3], end[:3, :3], u), (1.0 - u) * start[:3, 3] + u * end[:3, 3])
