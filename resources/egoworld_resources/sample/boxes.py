"""Boxes, the room's light on them, and the shadows that they throw on the table."""

import cv2
import numpy as np
from numpy.typing import NDArray

from egoworld_resources.sample.geometry import Array, Image, unit
from egoworld_resources.sample.rasterizer import Face, texture_levels
from egoworld_resources.sample.textures import Colour, printed

TABLE_TOP = 0.74
TABLE = (1.3, 0.84)
SHADOW_PER_METRE = 300
LIGHT = unit(np.array([-0.28, -0.22, 1.0]))


def box_faces(size: Array, at: Array, textures: list[Image], tag: int = 0, sides: str = "tnswe") -> list[Face]:
    """The faces of a box [size 3] whose frame is the pose `at` [4x4] of its centre.

    `sides`: which of top, bottom, north (+y), south (-y), west (-x), east (+x); one texture each, in that order.
    """
    x, y, z = np.eye(3) * size
    edges = {
        "t": ((-x + y + z) / 2, x, -y),
        "b": ((-x - y - z) / 2, x, y),
        "s": ((-x - y + z) / 2, x, -z),
        "n": ((x + y + z) / 2, -x, -z),
        "w": ((-x + y + z) / 2, -y, -z),
        "e": ((x - y + z) / 2, y, -z),
    }
    faces: list[Face] = []
    for side, texture in zip(sides, textures, strict=True):
        origin, across, down = edges[side]
        faces.append(Face(origin, across, down, texture_levels(texture), tag=tag).moved(at))
    return [lit(face) for face in faces]


def lit(face: Face) -> Face:
    """The face with the brightness that the room's light gives it."""
    normal = -unit(np.cross(face.across, face.down))
    light = 0.62 + 0.38 * max(0.0, float(normal @ LIGHT)) + 0.06 * float(normal[0])
    return Face(face.origin, face.across, face.down, face.levels, face.window, face.tag, min(light, 1.0), face.shadow)


def box_textures(
    rng: np.random.Generator, size: Array, base: Colour, ink: Colour, per_metre: float, sides: str
) -> list[Image]:
    """A print for each named side of a box."""
    spans = {"t": (0, 1), "b": (0, 1), "n": (0, 2), "s": (0, 2), "e": (1, 2), "w": (1, 2)}
    shapes = [
        (max(24, round(size[v] * per_metre)), max(24, round(size[u] * per_metre)))
        for u, v in (spans[side] for side in sides)
    ]
    return [printed(rng, height, width, base, ink) for height, width in shapes]


def footprint(points: NDArray[np.float64]) -> NDArray[np.int32]:
    """World points [n, 3] dropped along the light onto the table, in pixels of the shadow map [n, 1, 2]."""
    drop = points - LIGHT * ((points[:, 2:] - TABLE_TOP) / LIGHT[2])
    x = (drop[:, 0] + TABLE[0] / 2) * SHADOW_PER_METRE
    y = (TABLE[1] / 2 - drop[:, 1]) * SHADOW_PER_METRE
    return np.stack([x, y], axis=1).clip(-4000, 4000).round().astype(np.int32)[:, None]


def box_corners(size: Array, at: Array) -> Array:
    """The eight corners [8x3] of a box in the frame that `at` [4x4] leads to."""
    signs = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
    return (signs * size) @ at[:3, :3].T + at[:3, 3]


def shadow_map() -> Image:
    """A shadow map of the table's top without any shadow."""
    return np.full((round(TABLE[1] * SHADOW_PER_METRE), round(TABLE[0] * SHADOW_PER_METRE)), 255, np.uint8)


def cast(shadow: Image, points: Array, dark: float, softness: float) -> Image:
    """The shadow map darkened under the hull of points [n, 3]; `softness` is the blur in metres."""
    spot = np.zeros(shadow.shape, np.uint8)
    cv2.fillConvexPoly(spot, cv2.convexHull(footprint(points)), 255)
    spot = cv2.GaussianBlur(spot, (0, 0), max(softness * SHADOW_PER_METRE, 0.6))
    return np.asarray(shadow * (1.0 - dark * spot.astype(np.float32) / 255), np.uint8)
