"""The furnished rooms of the two shots: wall, floor, table, shelf, and the things on them."""

from dataclasses import dataclass, field

import cv2
import numpy as np

from egoworld_resources.sample.boxes import (
    TABLE,
    TABLE_TOP,
    box_corners,
    box_faces,
    box_textures,
    cast,
    lit,
    shadow_map,
)
from egoworld_resources.sample.geometry import Array, Image, pose, yaw
from egoworld_resources.sample.palettes import Palette
from egoworld_resources.sample.rasterizer import Face, texture_levels
from egoworld_resources.sample.textures import Colour, planks, printed, surface


@dataclass
class Room:
    """The faces of a room that do not move; `top` is the table's, which receives moving shadows."""

    palette: Palette
    top: Face
    faces: list[Face] = field(default_factory=list[Face])


def furnish(rng: np.random.Generator, palette: Palette, wall_at: float, detail: float) -> Room:
    """A room whose far wall is at y = `wall_at` metres; the generator places everything loose.

    `detail`: how fine the textures are; 1 suits a video 640 pixels wide.
    """
    width, depth = TABLE
    wood = planks(rng, round(depth * 900 * detail), round(width * 900 * detail), palette.table, 5)
    wood = _strew(rng, wood, palette, 900 * detail)
    clutter = _clutter(rng, palette)
    _stain_shadows(wood, clutter)
    top = Face(
        np.array([-width / 2, depth / 2, TABLE_TOP]),
        np.array([width, 0, 0]),
        np.array([0, -depth, 0.0]),
        texture_levels(wood),
    )
    room = Room(palette, top)
    edge = planks(rng, max(8, round(40 * detail)), max(64, round(1200 * detail)), palette.table, 1)
    slab = pose(np.eye(3), np.array([0, 0, TABLE_TOP - 0.02]))
    room.faces += box_faces(np.array([width, depth, 0.04]), slab, [edge] * 4, sides="nswe")
    for x in (-1, 1):
        for y in (-1, 1):
            leg = pose(np.eye(3), np.array([x * (width / 2 - 0.06), y * (depth / 2 - 0.06), TABLE_TOP / 2 - 0.02]))
            room.faces += box_faces(
                np.array([0.06, 0.06, TABLE_TOP - 0.04]), leg, [edge[:, :: edge.shape[1] // 32]] * 4, sides="nswe"
            )
    room.faces += _shell(rng, palette, wall_at, 330 * detail)
    room.faces += _posters(rng, palette, wall_at, 500 * detail)
    for size, at, colours in clutter:
        sides = "tnswe"
        room.faces += box_faces(size, at, box_textures(rng, size, *colours, 1300 * detail, sides), sides=sides)
    for size, at, colours in _floor_boxes(rng, palette, wall_at):
        room.faces += box_faces(size, at, box_textures(rng, size, *colours, 420 * detail, "tnswe"), sides="tnswe")
    return room


def _shell(rng: np.random.Generator, palette: Palette, wall_at: float, per_metre: float) -> list[Face]:
    """Floor and three walls."""
    near, reach, high = -2.0, 2.4, 2.4
    length = wall_at - near
    floor = planks(rng, round(length * per_metre), round(2 * reach * per_metre), palette.floor, 16)
    walls = [
        surface(rng, round(high * per_metre), round(span * per_metre), palette.wall, 900, 0.08 * per_metre)
        for span in (2 * reach, length, length)
    ]
    ground = Face(
        np.array([-reach, wall_at, 0.0]),
        np.array([2 * reach, 0, 0]),
        np.array([0, -length, 0.0]),
        texture_levels(floor),
    )
    north = Face(
        np.array([-reach, wall_at, high]),
        np.array([2 * reach, 0, 0]),
        np.array([0, 0, -high]),
        texture_levels(walls[0]),
    )
    west = Face(
        np.array([-reach, near, high]), np.array([0, length, 0]), np.array([0, 0, -high]), texture_levels(walls[1])
    )
    east = Face(
        np.array([reach, wall_at, high]), np.array([0, -length, 0]), np.array([0, 0, -high]), texture_levels(walls[2])
    )
    return [tile for face in (ground, north, west, east) for tile in lit(face).tiles(4, 3)]


def _posters(rng: np.random.Generator, palette: Palette, wall_at: float, per_metre: float) -> list[Face]:
    faces: list[Face] = []
    for k in range(5):
        wide, tall = rng.uniform(0.3, 0.5), rng.uniform(0.28, 0.45)
        left, top = -1.35 + 0.55 * k + rng.uniform(-0.04, 0.04), rng.uniform(1.15, 1.45)
        base, ink = _two(rng, palette)
        art = printed(rng, round(tall * per_metre), round(wide * per_metre), base, ink)
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
    x = -0.60
    while x < 0.50:
        wide = float(rng.uniform(0.10, 0.19))
        size = np.array([wide, rng.uniform(0.07, 0.14), rng.uniform(0.05, 0.21)])
        at = np.array([x + wide / 2, rng.uniform(0.29, 0.34), TABLE_TOP + size[2] / 2])
        out.append((size, pose(yaw(float(rng.uniform(-0.3, 0.3))), at), _two(rng, palette)))
        x += wide + float(rng.uniform(0.03, 0.08))
    for side, count in ((-1.0, 3), (1.0, 2)):
        for k in range(count):
            size = np.array([rng.uniform(0.12, 0.17), rng.uniform(0.16, 0.21), rng.uniform(0.015, 0.05)])
            at = np.array(
                [side * rng.uniform(0.45, 0.53), -0.28 + 0.23 * k + rng.uniform(-0.02, 0.02), TABLE_TOP + size[2] / 2]
            )
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


def _strew(rng: np.random.Generator, wood: Image, palette: Palette, per_metre: float) -> Image:
    """The table's top with printed sheets on it."""
    height, width = wood.shape[:2]
    out = wood
    for k in range(9):
        base, ink = _two(rng, palette)
        h, w = int(rng.uniform(0.10, 0.22) * per_metre), int(rng.uniform(0.09, 0.2) * per_metre)
        sheet = printed(rng, h, w, base, ink)
        turn = cv2.getRotationMatrix2D((w / 2, h / 2), float(rng.uniform(-50, 50)), 1.0)
        turn[:, 2] += [
            (k % 5 + rng.uniform(0.2, 0.8)) / 5 * width - w / 2,
            (k // 5 + rng.uniform(0.15, 0.85)) / 2 * height - h / 2,
        ]
        laid = cv2.warpAffine(sheet, turn, (width, height), flags=cv2.INTER_AREA)
        over = cv2.warpAffine(np.full((h, w), 255, np.uint8), turn, (width, height))
        shadow = 1.0 - 0.35 * cv2.GaussianBlur(over, (0, 0), 0.0045 * per_metre).astype(np.float32)[..., None] / 255
        out = np.where(over[..., None] > 127, laid, out * shadow).astype(np.uint8)
    return out


def _stain_shadows(wood: Image, clutter: list[Loose]) -> None:
    shadow = shadow_map()
    for size, at, _ in clutter:
        shadow = cast(shadow, box_corners(size, at), 0.42, 0.012)
    wide = np.asarray(cv2.resize(shadow, (wood.shape[1], wood.shape[0]), interpolation=cv2.INTER_LINEAR), np.uint8)
    cv2.multiply(wood, np.repeat(wide[..., None], 3, axis=2), wood, scale=1 / 255)
