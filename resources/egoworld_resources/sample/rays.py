"""The rays of the pixels that capsules may cover, and the distance to the capsules' smooth union.

Each capsule is evaluated only at the pixels that it can touch. Skin and sleeve are smoothed each by itself, with an
exponential union, which does not depend on the order of the capsules.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from egoworld_resources.sample.capsules import Capsule
from egoworld_resources.sample.geometry import Array, Image, Mask

BLEND = (0.0028, 0.004)
EMPTY = 1e-200
REACH = 2.5


@dataclass(frozen=True)
class Touch:
    """The rays that one capsule can touch: their indices `at` [m], and products of their directions [m].

    `axial`: with the capsule's axis; `along`: with its end `a`.
    """

    capsule: Capsule
    at: NDArray[np.intp]
    axial: Array
    along: Array


@dataclass(frozen=True)
class Rays:
    """Unit `direction` [n, 3] of each ray, the depth `start` [n] before which it meets nothing, and the touches."""

    direction: Array
    start: Array
    touches: list[Touch]

    def kept(self, mask: Mask) -> "Rays":
        """The rays where the mask [n] is true."""
        packed = np.cumsum(mask) - 1
        touches: list[Touch] = []
        for touch in self.touches:
            inside = mask[touch.at]
            at = packed[touch.at[inside]]
            touches.append(Touch(touch.capsule, at, touch.axial[inside], touch.along[inside]))
        return Rays(self.direction[mask], self.start[mask], touches)


def footprints(capsules: Sequence[Capsule], intrinsics: Array, width: int, height: int) -> Image:
    """Where each capsule may be seen, blending included: [n, height, width] of 0 or 1."""
    turns = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    ring = np.stack([np.cos(turns), np.sin(turns)], axis=1)
    masks = np.zeros((len(capsules), height, width), np.uint8)
    for mask, c in zip(masks, capsules, strict=True):
        outline: list[Array] = []
        for end, radius in ((c.a, c.ra), (c.b, c.rb)):
            reach = radius + REACH * BLEND[c.material]
            centre = (intrinsics @ (end / end[2]))[:2]
            outline.append(centre + ring * (1.06 * intrinsics[0, 0] * reach / max(end[2] - 0.5 * reach, 0.03) + 1.5))
        corners = np.clip(np.concatenate(outline), -20000, 20000).round().astype(np.int32)
        cv2.fillConvexPoly(mask, cv2.convexHull(corners), (1,))
    return masks


def cast_rays(capsules: Sequence[Capsule], masks: Image, intrinsics: Array, left: int, top: int) -> Rays:
    """The rays of all pixels of the footprints [n, h, w], row by row; the window's corner is (left, top)."""
    ys, xs = np.nonzero(masks.any(axis=0))
    packed = np.zeros(masks.shape[1:], np.intp)
    packed[ys, xs] = np.arange(len(ys))
    x = (xs + left - intrinsics[0, 2]) / intrinsics[0, 0]
    y = (ys + top - intrinsics[1, 2]) / intrinsics[1, 1]
    direction = np.stack([x, y, np.ones(len(x))], axis=1)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    start, touches = np.full(len(xs), np.inf), list[Touch]()
    for c, mask in zip(capsules, masks, strict=True):
        at = packed[mask > 0]
        entry = float(np.linalg.norm((c.a + c.b) / 2)) - c.length / 2 - max(c.ra, c.rb) - 0.01
        start[at] = np.minimum(start[at], max(entry, 0.02))
        touches.append(Touch(c, at, direction[at] @ c.axis, direction[at] @ c.a))
    return Rays(direction, start, touches)


def weight_of(distance: Array, material: int) -> Array:
    """The share [n] of a capsule at these distances in the smooth union of its material."""
    return np.exp(np.minimum(-distance / BLEND[material], 300.0))


def union_of(sums: Array) -> Array:
    """Distances [2, n] to the smooth unions of skin and of sleeve from the sums [2, n] of the capsules' shares."""
    return -np.array(BLEND)[:, None] * np.log(np.maximum(sums, EMPTY))


def distance_along(rays: Rays, t: Array) -> Array:
    """Distance [n] to the surface at depth `t` [n] along each ray."""
    sums = np.zeros((2, len(t)))
    for touch in rays.touches:
        c, depth = touch.capsule, t[touch.at]
        aa, ab, bb = float(c.a @ c.a), float(c.a @ c.axis), float(c.axis @ c.axis)
        h = np.clip((depth * touch.axial - ab) / bb, 0.0, 1.0)
        squared = depth * (depth - 2.0 * (touch.along + h * touch.axial)) + aa + h * (2.0 * ab + h * bb)
        distance = np.sqrt(np.maximum(squared, 0.0)) - (c.ra + h * (c.rb - c.ra))
        sums[c.material][touch.at] += weight_of(distance, c.material)
    return union_of(sums).min(axis=0)


def distance_at(rays: Rays, points: Array) -> Array:
    """Distance [n] to the surface at points [n, 3], each near its own ray."""
    sums = np.zeros((2, len(points)))
    for touch in rays.touches:
        _, distance, _ = touch.capsule.offset(points[touch.at])
        sums[touch.capsule.material][touch.at] += weight_of(distance, touch.capsule.material)
    return union_of(sums).min(axis=0)
