"""The skin over a hand's skeleton: tapered capsules under a smooth union, found by sphere tracing.

Distance to a tapered capsule, smooth union, ambient occlusion along the normal: the standard constructions of
signed distance fields (Quilez). Each capsule is evaluated only at the pixels that it can touch.
"""

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from .geometry import Array, Image, Mask, unit

Indices = NDArray[np.intp]
SKIN, SLEEVE = 0, 1
BLEND = (0.0028, 0.004)
EMPTY = 1e-200


@dataclass(frozen=True)
class Capsules:
    """Tapered capsules in the camera frame: ends `a`, `b` [n, 3], radii `ra`, `rb` [n], metres.

    `material`: SKIN or SLEEVE. `back`: the direction [n, 3] in which a nail or crease may lie.
    `nail`, `crease`, `flush`: 0..1 [n], how much of each the capsule bears.
    """

    a: Array
    b: Array
    ra: Array
    rb: Array
    material: NDArray[np.int64]
    back: Array
    nail: Array
    crease: Array
    flush: Array

    def __len__(self) -> int:
        return len(self.ra)


@dataclass(frozen=True)
class Layer:
    """What was traced in a window of the image: `colour` [h, w, 3], `cover` 0..1, `depth` along z, `material` [h, w]."""

    left: int
    top: int
    colour: NDArray[np.float32]
    cover: NDArray[np.float32]
    depth: NDArray[np.float32]
    material: Image


@dataclass(frozen=True)
class Look:
    """Colours 0..255 of skin and cloth, and the direction [3] to the light in the camera frame."""

    skin: Array
    cloth: Array
    light: Array
    seam: float = 190.0


@dataclass
class _Rays:
    """The pixels that capsules can touch, and for each capsule which of them."""

    direction: Array
    touched: list[Indices]
    start: Array
    axial: list[Array] = field(default_factory=list[Array])
    along: list[Array] = field(default_factory=list[Array])


def trace(capsules: Capsules, intrinsics: Array, width: int, height: int, look: Look) -> Layer | None:
    """The capsules as the camera sees them; None when they are out of its view."""
    capsules = _before_camera(capsules)
    masks = _footprints(capsules, intrinsics, width, height)
    union = np.bitwise_or.reduce(masks, axis=0) if len(masks) else np.zeros((height, width), np.uint8)
    rows, columns = np.nonzero(union.any(axis=1))[0], np.nonzero(union.any(axis=0))[0]
    if not len(rows):
        return None
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    union, masks = union[top:bottom, left:right], masks[:, top:bottom, left:right]
    rays = _rays(capsules, intrinsics, union, masks, left, top)
    t, gap = _march(capsules, rays)
    points = rays.direction * t[:, None]
    pixel = t / intrinsics[0, 0]
    cover = np.clip(1.1 - gap / (0.9 * pixel), 0.0, 1.0)
    seen: Mask = cover > 0.02
    colour, material = np.zeros((len(t), 3)), np.zeros(len(t), np.uint8)
    kept = _keep(rays, seen)
    colour[seen], material[seen] = _shade(capsules, kept, points[seen], look)
    window = union.shape
    inside = union > 0
    layer = Layer(
        left, top, np.zeros((*window, 3), np.float32), np.zeros(window, np.float32), np.full(window, np.inf, np.float32),
        np.zeros(window, np.uint8),
    )
    layer.colour[inside], layer.material[inside] = colour, material
    layer.cover[inside], layer.depth[inside] = np.where(seen, cover, 0.0), points[:, 2]
    return layer


def _before_camera(c: Capsules, near: float = 0.09) -> Capsules:
    """The capsules cut where they pass behind the camera."""
    kept = (c.a[:, 2] > near) | (c.b[:, 2] > near)
    a, b, ra, rb = c.a.copy(), c.b.copy(), c.ra.copy(), c.rb.copy()
    for here, there, r_here, r_there in ((a, b, ra, rb), (b, a, rb, ra)):
        cut = kept & (here[:, 2] < near)
        u = ((near - here[cut, 2]) / (there[cut, 2] - here[cut, 2]))[:, None]
        r_here[cut] += u[:, 0] * (r_there[cut] - r_here[cut])
        here[cut] += u * (there[cut] - here[cut])
    return Capsules(
        a[kept], b[kept], ra[kept], rb[kept], c.material[kept], c.back[kept], c.nail[kept], c.crease[kept], c.flush[kept]
    )


def _footprints(c: Capsules, intrinsics: Array, width: int, height: int) -> NDArray[np.uint8]:
    """Where each capsule may be seen, blending included: [n, height, width] of 0 or 1."""
    ring = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    ring = np.stack([np.cos(ring), np.sin(ring)], axis=1)
    masks = np.zeros((len(c), height, width), np.uint8)
    for i in range(len(c)):
        outline: list[Array] = []
        for end, radius in ((c.a[i], c.ra[i]), (c.b[i], c.rb[i])):
            reach = radius + 2.5 * BLEND[int(c.material[i])]
            centre = (intrinsics @ (end / end[2]))[:2]
            outline.append(centre + ring * (1.06 * intrinsics[0, 0] * reach / max(end[2] - 0.5 * reach, 0.03) + 1.5))
        corners = np.clip(np.concatenate(outline), -20000, 20000).round().astype(np.int32)
        cv2.fillConvexPoly(masks[i], cv2.convexHull(corners), 1)
    return masks


def _rays(c: Capsules, intrinsics: Array, union: Image, masks: NDArray[np.uint8], left: int, top: int) -> _Rays:
    ys, xs = np.nonzero(union)
    packed = np.zeros(union.shape, np.intp)
    packed[ys, xs] = np.arange(len(ys))
    x = (xs + left - intrinsics[0, 2]) / intrinsics[0, 0]
    y = (ys + top - intrinsics[1, 2]) / intrinsics[1, 1]
    direction = np.stack([x, y, np.ones(len(x))], axis=1)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    rays = _Rays(direction, [packed[mask > 0] for mask in masks], np.full(len(xs), np.inf))
    for i, at in enumerate(rays.touched):
        middle, reach = (c.a[i] + c.b[i]) / 2, np.linalg.norm(c.b[i] - c.a[i]) / 2 + max(c.ra[i], c.rb[i])
        entry = max(float(np.linalg.norm(middle) - reach) - 0.01, 0.02)
        rays.start[at] = np.minimum(rays.start[at], entry)
        rays.axial.append(direction[at] @ (c.b[i] - c.a[i]))
        rays.along.append(direction[at] @ c.a[i])
    return rays


def _keep(rays: _Rays, kept: Mask) -> _Rays:
    """The rays where `kept` is true."""
    packed = np.cumsum(kept) - 1
    inside = [kept[at] for at in rays.touched]
    touched = [packed[at[i]] for at, i in zip(rays.touched, inside, strict=True)]
    return _Rays(
        rays.direction[kept], touched, rays.start[kept],
        [v[i] for v, i in zip(rays.axial, inside, strict=True)], [v[i] for v, i in zip(rays.along, inside, strict=True)],
    )


def _union(sums: Array) -> Array:
    """Distance [n] from the sums [2, n] of the smooth unions of skin and of sleeve."""
    near = [-k * np.log(np.maximum(s, EMPTY)) for k, s in zip(BLEND, sums, strict=True)]
    return np.minimum(near[0], near[1])


def _distance_along(c: Capsules, rays: _Rays, t: Array) -> Array:
    """Distance [n] to the surface at depth `t` [n] along the rays."""
    sums = np.zeros((2, len(t)))
    for i, at in enumerate(rays.touched):
        a, axis, m = c.a[i], c.b[i] - c.a[i], int(c.material[i])
        ti, length2 = t[at], float(axis @ axis)
        h = np.clip((ti * rays.axial[i] - float(a @ axis)) / length2, 0.0, 1.0)
        squared = ti * (ti - 2.0 * (rays.along[i] + h * rays.axial[i])) + (a @ a) + h * (2.0 * (a @ axis) + h * length2)
        distance = np.sqrt(np.maximum(squared, 0.0)) - (c.ra[i] + h * (c.rb[i] - c.ra[i]))
        sums[m][at] += np.exp(np.minimum(-distance / BLEND[m], 300.0))
    return _union(sums)


def _march(c: Capsules, rays: _Rays, steps: int = 26, done: float = 1.5e-4) -> tuple[Array, Array]:
    """Depth [n] along each ray where it meets the surface or passes closest, and the gap left there in metres."""
    t, best, gap = rays.start.copy(), rays.start.copy(), np.full(len(rays.start), np.inf)
    live, part = np.arange(len(t)), rays
    for step in range(steps):
        if not len(live):
            break
        distance = _distance_along(c, part, t[live])
        closer = distance < gap[live]
        best[live[closer]], gap[live[closer]] = t[live[closer]], distance[closer]
        t[live] += np.maximum(distance, done / 2) * 0.96
        if step % 3 == 2:
            on: Mask = (gap[live] > done) & (distance < 4 * gap[live] + 0.02) & (t[live] < 3.0)
            live, part = live[on], _keep(part, on)
    return best, np.maximum(gap, 0.0)


def _distance_at(c: Capsules, rays: _Rays, points: Array) -> Array:
    sums = np.zeros((2, len(points)))
    for i, at in enumerate(rays.touched):
        m, (_, distance, _) = int(c.material[i]), _offset(c, i, points[at])
        sums[m][at] += np.exp(np.minimum(-distance / BLEND[m], 300.0))
    return _union(sums)


def _offset(c: Capsules, i: int, points: Array) -> tuple[Array, Array, Array]:
    """For points [n, 3]: offset from the capsule's axis [n, 3], distance to its surface [n], place along it 0..1 [n]."""
    axis = c.b[i] - c.a[i]
    from_a = points - c.a[i]
    h = np.clip(from_a @ axis / float(axis @ axis), 0.0, 1.0)
    away = from_a - h[:, None] * axis
    return away, np.linalg.norm(away, axis=1) - (c.ra[i] + h * (c.rb[i] - c.ra[i])), h


def _shade(c: Capsules, rays: _Rays, points: Array, look: Look) -> tuple[Array, Image]:
    """Colours [n, 3] and materials [n] at surface points [n, 3]."""
    normal, weight = np.zeros((2, len(points), 3)), np.full((2, len(points)), EMPTY)
    paint = np.zeros((2, len(points), 3))
    for i, at in enumerate(rays.touched):
        m, (away, distance, h) = int(c.material[i]), _offset(c, i, points[at])
        w = np.exp(np.minimum(-distance / BLEND[m], 300.0))
        outward = away / np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-9)
        normal[m][at] += w[:, None] * outward
        weight[m][at] += w
        tone = _skin(c, i, outward, h, look) if m == SKIN else _cloth(c, i, outward, h, look)
        paint[m][at] += w[:, None] * tone
    near = np.stack([-k * np.log(w) for k, w in zip(BLEND, weight, strict=True)])
    material = np.argmin(near, axis=0)
    pick = np.arange(len(points))
    n = normal[material, pick]
    n /= np.maximum(np.linalg.norm(n, axis=1, keepdims=True), 1e-9)
    albedo = paint[material, pick] / weight[material, pick][:, None]
    openness = np.ones(len(points))
    for reach, share in ((0.005, 0.35), (0.014, 0.3), (0.03, 0.25)):
        openness -= share * np.clip(1.0 - _distance_at(c, rays, points + reach * n) / reach, 0.0, 1.0)
    lit = np.clip(n @ look.light, 0.0, 1.0)
    wrap = np.clip(0.5 + 0.5 * (n @ look.light), 0.0, 1.0)
    half = unit(look.light + np.array([0.0, 0.0, -1.0]))
    shine = 16.0 * np.clip(n @ half, 0.0, 1.0) ** 18 * (material == SKIN)
    light = (0.30 + 0.22 * wrap + 0.60 * lit) * np.clip(openness, 0.15, 1.0)
    return np.clip(albedo * light[:, None] + shine[:, None], 0, 255), material.astype(np.uint8)


def _skin(c: Capsules, i: int, outward: Array, h: Array, look: Look) -> Array:
    length = float(np.linalg.norm(c.b[i] - c.a[i]))
    back = outward @ c.back[i]
    ends = np.exp(-((np.minimum(h, 1.0 - h) * length / 0.007) ** 2))
    flush = c.flush[i] * ends * 0.5
    tone = look.skin * (1.0 - flush[:, None] * np.array([0.02, 0.16, 0.16]))
    fold = np.exp(-(((h * length) / 0.0013) ** 2)) + 0.7 * np.exp(-(((h * length - 0.0035) / 0.0011) ** 2))
    tone = tone * (1.0 - 0.22 * (c.crease[i] * fold * np.clip(2.0 * back - 0.6, 0.0, 1.0))[:, None])
    nail = c.nail[i] * np.clip((back - 0.72) * 12.0, 0.0, 1.0) * np.clip((h - 0.55) * 12.0, 0.0, 1.0)
    return tone * (1.0 - nail[:, None]) + (0.45 * look.skin + np.array([128.0, 108.0, 104.0])) * nail[:, None]


def _cloth(c: Capsules, i: int, outward: Array, h: Array, look: Look) -> Array:
    length = float(np.linalg.norm(c.b[i] - c.a[i]))
    weave = 0.06 * np.sin(h * length * look.seam * 4.0) + 0.05 * np.sin(h * length * look.seam + 3.0 * outward[:, 0])
    cuff = 0.16 * np.exp(-(((h * length - 0.012) / 0.002) ** 2))
    return look.cloth * (1.0 + weave - cuff)[:, None]
