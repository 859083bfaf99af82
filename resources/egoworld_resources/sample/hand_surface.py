"""The visible surface of a hand: sphere tracing of its capsules within their window of the image."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from egoworld_resources.sample.capsules import Capsule, before_camera
from egoworld_resources.sample.geometry import Array, Floats, Image, Mask
from egoworld_resources.sample.rays import Rays, cast_rays, distance_along, footprints
from egoworld_resources.sample.shading import Look, shade

STEPS = 26
TOUCHING = 1.5e-4


@dataclass(frozen=True)
class Layer:
    """What was traced in a window of the image whose corner is (`left`, `top`).

    `colour` [h, w, 3] 0..255; `cover` [h, w] 0..1; `depth` [h, w] metres along z; `material` [h, w].
    """

    left: int
    top: int
    colour: Floats
    cover: Floats
    depth: Floats
    material: Image


def trace(capsules: Sequence[Capsule], intrinsics: Array, width: int, height: int, look: Look) -> Layer | None:
    """The camera-frame capsules as the camera sees them; None when they are out of its view."""
    capsules = before_camera(capsules)
    masks = footprints(capsules, intrinsics, width, height)
    inside: Mask = np.asarray(masks.any(axis=0))
    if not inside.any():
        return None
    ys, xs = np.nonzero(inside)
    top, bottom, left, right = int(ys.min()), int(ys.max()) + 1, int(xs.min()), int(xs.max()) + 1
    inside, masks = inside[top:bottom, left:right], masks[:, top:bottom, left:right]
    rays = cast_rays(capsules, masks, intrinsics, left, top)
    depth, gap = _march(rays)
    cover = np.clip(1.1 - gap / (0.9 * depth / intrinsics[0, 0]), 0.0, 1.0)
    seen: Mask = cover > 0.02
    points = rays.direction * depth[:, None]
    layer = _empty_layer(left, top, inside.shape)
    colour, material = shade(rays.kept(seen), points[seen], look)
    ys, xs = np.nonzero(inside)
    layer.colour[ys[seen], xs[seen]], layer.material[ys[seen], xs[seen]] = colour, material
    layer.cover[inside], layer.depth[inside] = np.where(seen, cover, 0.0), points[:, 2]
    return layer


def _empty_layer(left: int, top: int, size: tuple[int, ...]) -> Layer:
    colour, cover = np.zeros((*size, 3), np.float32), np.zeros(size, np.float32)
    return Layer(left, top, colour, cover, np.full(size, np.inf, np.float32), np.zeros(size, np.uint8))


def _march(rays: Rays) -> tuple[Array, Array]:
    """Depth [n] along each ray where it meets the surface or passes closest, and the gap left there in metres."""
    t, best, gap = rays.start.copy(), rays.start.copy(), np.full(len(rays.start), np.inf)
    live, part = np.arange(len(t)), rays
    for step in range(STEPS):
        if not len(live):
            break
        distance = distance_along(part, t[live])
        closer = distance < gap[live]
        best[live[closer]], gap[live[closer]] = t[live[closer]], distance[closer]
        t[live] += np.maximum(distance, TOUCHING / 2) * 0.96
        if step % 3 == 2:
            on: Mask = (gap[live] > TOUCHING) & (distance < 4 * gap[live] + 0.02) & (t[live] < 3.0)
            live, part = live[on], part.kept(on)
    return best, np.maximum(gap, 0.0)
