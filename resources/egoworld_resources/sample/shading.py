"""The look of skin and cloth: colour, creases, nails, light and its occlusion.

Ambient occlusion is sampled from the distance field along the normal (Evans 2006).
"""

from dataclasses import dataclass

import numpy as np

from egoworld_resources.sample.capsules import SKIN, Capsule
from egoworld_resources.sample.geometry import Array, Image, unit
from egoworld_resources.sample.rays import EMPTY, Rays, distance_at, union_of, weight_of

NAIL = np.array([128.0, 108.0, 104.0])
RIBS_PER_METRE = 190.0
OCCLUSION = ((0.005, 0.35), (0.014, 0.3), (0.03, 0.25))


@dataclass(frozen=True)
class Look:
    """Colours [3] 0..255 of skin and cloth, and the direction [3] to the light in the camera frame.

    gloved: the skin is a glove's, without nails, redness or folds.
    """

    skin: Array
    cloth: Array
    light: Array
    gloved: bool = False


def shade(rays: Rays, points: Array, look: Look) -> tuple[Array, Image]:
    """Colours [n, 3] 0..255 and materials [n] at surface points [n, 3], one on each ray."""
    count = len(points)
    normals, paint, weight = np.zeros((2, count, 3)), np.zeros((2, count, 3)), np.full((2, count), EMPTY)
    for touch in rays.touches:
        c, at = touch.capsule, touch.at
        away, distance, h = c.offset(points[at])
        share = weight_of(distance, c.material)
        outward = away / np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-9)
        tone = _cloth(c, outward, h, look.cloth) if c.material != SKIN else _skin(c, outward, h, look)
        weight[c.material][at] += share
        normals[c.material][at] += share[:, None] * outward
        paint[c.material][at] += share[:, None] * tone
    material = np.argmin(union_of(weight), axis=0)
    pick = np.arange(count)
    normal = normals[material, pick]
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    albedo = paint[material, pick] / weight[material, pick][:, None]
    shine = 16.0 * np.clip(normal @ unit(look.light - np.array([0.0, 0.0, 1.0])), 0.0, 1.0) ** 18 * (material == SKIN)
    light = _light(rays, points, normal, look.light)
    return np.clip(albedo * light[:, None] + shine[:, None], 0, 255), material.astype(np.uint8)


def _light(rays: Rays, points: Array, normal: Array, toward: Array) -> Array:
    """How much light [n] the points get: from the lamp, from the room, less where other flesh is near."""
    openness = np.ones(len(points))
    for reach, share in OCCLUSION:
        openness -= share * np.clip(1.0 - distance_at(rays, points + reach * normal) / reach, 0.0, 1.0)
    facing = normal @ toward
    return (0.41 + 0.11 * facing + 0.60 * np.clip(facing, 0.0, 1.0)) * np.clip(openness, 0.15, 1.0)


def _skin(c: Capsule, outward: Array, h: Array, look: Look) -> Array:
    """Skin [n, 3]: redder at the joints, folds across the back of a joint, a nail at the end of a finger."""
    base = look.skin
    if look.gloved:
        return np.broadcast_to(base, (len(h), 3))
    along, back = h * c.length, outward @ c.back
    flush = 0.5 * c.flush * np.exp(-((np.minimum(along, c.length - along) / 0.007) ** 2))
    fold = np.exp(-((along / 0.0013) ** 2)) + 0.7 * np.exp(-(((along - 0.0035) / 0.0011) ** 2))
    dark = 0.22 * c.crease * fold * np.clip(2.0 * back - 0.6, 0.0, 1.0)
    tone = base * (1.0 - flush[:, None] * np.array([0.02, 0.16, 0.16])) * (1.0 - dark[:, None])
    nail = (c.nail * np.clip((back - 0.72) * 12.0, 0.0, 1.0) * np.clip((h - 0.55) * 12.0, 0.0, 1.0))[:, None]
    return tone * (1.0 - nail) + (0.45 * base + NAIL) * nail


def _cloth(c: Capsule, outward: Array, h: Array, base: Array) -> Array:
    """Cloth [n, 3]: ribs across the sleeve and a seam at the cuff."""
    along = h * c.length
    ribs = 0.06 * np.sin(4.0 * RIBS_PER_METRE * along) + 0.05 * np.sin(RIBS_PER_METRE * along + 3.0 * outward[:, 0])
    seam = 0.16 * np.exp(-(((along - 0.012) / 0.002) ** 2))
    return base * (1.0 + ribs - seam)[:, None]
