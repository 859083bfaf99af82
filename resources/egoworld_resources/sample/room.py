"""The furnished rooms of the two shots: wall, floor, table, shelf, and what stands on them."""

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from .geometry import Array, Image, pose, unit, yaw
from .rasterizer import Face, texture_levels
from .textures import Colour, planks, printed, surface

TABLE_TOP = 0.74
TABLE = (1.5, 0.95)
SHADOW_PER_METRE = 300
LIGHT = unit(np.array([-0.28, -0.22, 1.0]))


@dataclass(frozen=True)
class Palette:
    """The colours of one room."""

    wall: Colour
    floor: Colour
    table: Colour
    prints: tuple[Colour, ...]
    skin: Colour
    cloth: Colour


PALETTES = (
    Palette(
        (178, 186, 196), (128, 112, 98), (92, 112, 128),
        ((188, 66, 54), (44, 92, 150), (222, 190, 84), (66, 130, 96), (226, 226, 220)), (222, 172, 142), (58, 66, 92),
    ),
    Palette(
        (226, 214, 180), (88, 92, 98), (74, 96, 80),
        ((120, 60, 130), (214, 128, 56), (52, 128, 140), (236, 236, 230), (150, 44, 60)), (222, 172, 142), (118, 52, 56),
    ),
)  # fmt: skip


@dataclass
class Room:
    """The faces of a room that do not move; `top` is the table's, which receives moving shadows."""

    palette: Palette
    top: Face
    faces: list[Face] = field(default_factory=list[Face])


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


def box_textures(rng: np.random.Generator, size: Array, base: Colour, ink: Colour, per_metre: float, sides: str) -> list[Image]:
    """A print for each named side of a box."""
    spans = {"t": (0, 1), "b": (0, 1), "n": (0, 2), "s": (0, 2), "e": (1, 2), "w": (1, 2)}
    shapes = [(max(24, round(size[v] * per_metre)), max(24, round(size[u] * per_metre))) for u, v in map(spans.get, sides)]
    return [printed(rng, height, width, base, ink) for height, width in shapes]


def furnish(rng: np.random.Generator, palette: Palette, wall_at: float) -> Room:
    """A room whose far wall stands at y = `wall_at` metres; everything loose lies by the generator."""
    width, depth = TABLE
    wood = planks(rng, round(depth * 900), round(width * 900), palette.table, 5)
    wood = _strew(rng, wood, palette)
    clutter = _clutter(rng, palette)
    _stain_shadows(wood, clutter)
    top = Face(np.array([-width / 2, depth / 2, TABLE_TOP]), np.array([width, 0, 0]), np.array([0, -depth, 0.0]),
               texture_levels(wood))
    room = Room(palette, top)
    edge = planks(rng, 40, 1200, palette.table, 1)
    slab = pose(np.eye(3), np.array([0, 0, TABLE_TOP - 0.02]))
    room.faces += box_faces(np.array([width, depth, 0.04]), slab, [edge] * 4, sides="nswe")
    for x in (-1, 1):
        for y in (-1, 1):
            leg = pose(np.eye(3), np.array([x * (width / 2 - 0.06), y * (depth / 2 - 0.06), TABLE_TOP / 2 - 0.02]))
            room.faces += box_faces(np.array([0.06, 0.06, TABLE_TOP - 0.04]), leg, [edge[:, :60]] * 4, sides="nswe")
    room.faces += _shell(rng, palette, wall_at)
    room.faces += _posters(rng, palette, wall_at)
    for size, at, colours in clutter:
        sides = "tnswe"
        room.faces += box_faces(size, at, box_textures(rng, size, *colours, 1300, sides), sides=sides)
    for size, at, colours in _floor_boxes(rng, palette, wall_at):
        room.faces += box_faces(size, at, box_textures(rng, size, *colours, 420, "tnswe"), sides="tnswe")
    return room


def _shell(rng: np.random.Generator, palette: Palette, wall_at: float) -> list[Face]:
    """Floor and three walls."""
    near, reach, high = -2.0, 2.4, 2.4
    length = wall_at - near
    floor = planks(rng, round(length * 330), round(2 * reach * 330), palette.floor, 16)
    walls = [surface(rng, round(high * 330), round(span * 330), palette.wall, 900, 26) for span in (2 * reach, length, length)]
    ground = Face(np.array([-reach, wall_at, 0.0]), np.array([2 * reach, 0, 0]), np.array([0, -length, 0.0]),
                  texture_levels(floor))
    north = Face(np.array([-reach, wall_at, high]), np.array([2 * reach, 0, 0]), np.array([0, 0, -high]),
                 texture_levels(walls[0]))
    west = Face(np.array([-reach, near, high]), np.array([0, length, 0]), np.array([0, 0, -high]), texture_levels(walls[1]))
    east = Face(np.array([reach, wall_at, high]), np.array([0, -length, 0]), np.array([0, 0, -high]), texture_levels(walls[2]))
    return [tile for face in (ground, north, west, east) for tile in lit(face).tiles(4, 3)]


def _posters(rng: np.random.Generator, palette: Palette, wall_at: float) -> list[Face]:
    faces: list[Face] = []
    for k in range(5):
        wide, tall = rng.uniform(0.3, 0.5), rng.uniform(0.28, 0.45)
        left, top = -1.35 + 0.55 * k + rng.uniform(-0.04, 0.04), rng.uniform(1.15, 1.45)
        base, ink = _two(rng, palette)
        art = printed(rng, round(tall * 500), round(wide * 500), base, ink)
        corner = np.array([left, wall_at - 0.012, top])
        faces.append(lit(Face(corner, np.array([wide, 0, 0]), np.array([0, 0, -tall]), texture_levels(art))))
    return faces


def _two(rng: np.random.Generator, palette: Palette) -> tuple[Colour, Colour]:
    i, j = rng.choice(len(palette.prints), 2, replace=False)
    return palette.prints[int(i)], palette.prints[int(j)]


Loose = tuple[Array, Array, tuple[Colour, Colour]]


def _clutter(rng: np.random.Generator, palette: Palette) -> list[Loose]:
    """Boxes and books along the back and the left of the table, clear of where the hand works."""
    out: list[Loose] = []
    x = -0.66
    while x < 0.62:
        wide = float(rng.uniform(0.10, 0.19))
        size = np.array([wide, rng.uniform(0.07, 0.14), rng.uniform(0.05, 0.21)])
        at = np.array([x + wide / 2, rng.uniform(0.33, 0.39), TABLE_TOP + size[2] / 2])
        out.append((size, pose(yaw(float(rng.uniform(-0.3, 0.3))), at), _two(rng, palette)))
        x += wide + float(rng.uniform(0.03, 0.08))
    for side, count in ((-1.0, 3), (1.0, 2)):
        for k in range(count):
            size = np.array([rng.uniform(0.12, 0.17), rng.uniform(0.16, 0.21), rng.uniform(0.015, 0.05)])
            at = np.array([side * rng.uniform(0.47, 0.60), -0.30 + 0.25 * k + rng.uniform(-0.02, 0.02), TABLE_TOP + size[2] / 2])
            out.append((size, pose(yaw(float(rng.uniform(-0.5, 0.5))), at), _two(rng, palette)))
    return out


def _floor_boxes(rng: np.random.Generator, palette: Palette, wall_at: float) -> list[Loose]:
    """Crates on the floor about the table, and a row of them along the far wall as a low shelf."""
    out: list[Loose] = []
    for k in range(6):
        size = np.array([rng.uniform(0.3, 0.5), rng.uniform(0.2, 0.3), rng.uniform(0.4, 0.85)])
        at = np.array([-1.6 + 0.62 * k, wall_at - 0.16, size[2] / 2])
        out.append((size, pose(yaw(float(rng.uniform(-0.1, 0.1))), at), _two(rng, palette)))
    for side in (-1.0, 1.0):
        for k in range(2):
            size = rng.uniform(0.25, 0.45, 3)
            at = np.array([side * rng.uniform(1.05, 1.35), -0.4 + 0.7 * k, size[2] / 2])
            out.append((size, pose(yaw(float(rng.uniform(-0.6, 0.6))), at), _two(rng, palette)))
    return out


def _strew(rng: np.random.Generator, wood: Image, palette: Palette) -> Image:
    """The table's top with printed sheets lying on it."""
    height, width = wood.shape[:2]
    out = wood
    for k in range(9):
        base, ink = _two(rng, palette)
        h, w = int(rng.uniform(0.10, 0.22) * 900), int(rng.uniform(0.09, 0.2) * 900)
        sheet = printed(rng, h, w, base, ink)
        turn = cv2.getRotationMatrix2D((w / 2, h / 2), float(rng.uniform(-50, 50)), 1.0)
        turn[:, 2] += [(k % 5 + rng.uniform(0.2, 0.8)) / 5 * width - w / 2, (k // 5 + rng.uniform(0.15, 0.85)) / 2 * height - h / 2]
        laid = cv2.warpAffine(sheet, turn, (width, height), flags=cv2.INTER_AREA)
        over = cv2.warpAffine(np.full((h, w), 255, np.uint8), turn, (width, height))
        shadow = 1.0 - 0.35 * cv2.GaussianBlur(over, (0, 0), 4).astype(np.float32)[..., None] / 255
        out = np.where(over[..., None] > 127, laid, out * shadow).astype(np.uint8)
    return out


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


def _stain_shadows(wood: Image, clutter: list[Loose]) -> None:
    shadow = shadow_map()
    for size, at, _ in clutter:
        shadow = cast(shadow, box_corners(size, at), 0.42, 0.012)
    wide = np.asarray(cv2.resize(shadow, (wood.shape[1], wood.shape[0]), interpolation=cv2.INTER_LINEAR), np.uint8)
    cv2.multiply(wood, np.repeat(wide[..., None], 3, axis=2), wood, scale=1 / 255)
