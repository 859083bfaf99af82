"""Textured rectangles drawn with a depth buffer, each by one homography."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from egoworld_resources.sample.geometry import Array, Floats, Image, apply, inverse, project

NEAR = 0.05


@dataclass(frozen=True)
class Face:
    """A textured rectangle in the world, seen from the side its normal `across x down` points away from.

    `origin` [3]: the corner of the texture's top left; `across`, `down` [3]: the edges along its rows and columns,
    metres. `levels`: the texture, each level half the size of the one before. `window`: the part that is drawn,
    (left, top, right, bottom) as fractions. `tag`: what it belongs to. `light`: 0..1 brightness.
    `shadow`: 0..255 [h, w], multiplied over the whole rectangle.
    """

    origin: Array
    across: Array
    down: Array
    levels: tuple[Image, ...]
    window: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    tag: int = 0
    light: float = 1.0
    shadow: Image | None = None

    @property
    def corners(self) -> Array:
        """The drawn part's corners [4x3] in the world, in order."""
        left, top, right, bottom = self.window
        at = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
        return self.origin + at[:, :1] * self.across + at[:, 1:] * self.down

    def moved(self, t: Array) -> "Face":
        """The same face carried by a pose [4x4]."""
        return replace(self, origin=apply(t, self.origin), across=t[:3, :3] @ self.across, down=t[:3, :3] @ self.down)

    def tiles(self, columns: int, rows: int) -> list["Face"]:
        """The face cut into parts, so that near and far ones draw from a fitting texture level."""
        xs, ys = np.linspace(0, 1, columns + 1), np.linspace(0, 1, rows + 1)
        return [
            replace(self, window=(float(xs[i]), float(ys[j]), float(xs[i + 1]), float(ys[j + 1])))
            for j in range(rows)
            for i in range(columns)
        ]


def texture_levels(texture: Image) -> tuple[Image, ...]:
    """The texture and its halvings, down to 16 pixels."""
    levels = [texture]
    while min(levels[-1].shape[:2]) >= 32:
        height, width = levels[-1].shape[:2]
        half = cv2.resize(levels[-1], (width // 2, height // 2), interpolation=cv2.INTER_AREA)
        levels.append(np.asarray(half, np.uint8))
    return tuple(levels)


@dataclass(frozen=True)
class Drawing:
    """A drawn image: `colour` [h, w, 3], `nearness` 1/depth [h, w] (0: nothing there), `tags` [h, w]."""

    colour: Image
    nearness: Floats
    tags: Image


def draw(faces: Iterable[Face], t_world_camera: Array, intrinsics: Array, width: int, height: int) -> Drawing:
    """The faces as the camera sees them."""
    out = Drawing(
        np.zeros((height, width, 3), np.uint8),
        np.zeros((height, width), np.float32),
        np.zeros((height, width), np.uint8),
    )
    t_camera_world = inverse(t_world_camera)
    seen = [face for face in (f.moved(t_camera_world) for f in faces) if _faces_camera(face)]
    for face in sorted(seen, key=lambda f: float(np.linalg.norm(f.corners.mean(axis=0)))):
        _draw_face(face, intrinsics, out)
    return out


def _faces_camera(face: Face) -> bool:
    return float(np.dot(np.cross(face.across, face.down), face.origin)) > 1e-9


def _clip_near(corners: Array) -> Array:
    kept: list[Array] = []
    for here, there in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if here[2] >= NEAR:
            kept.append(here)
        if (here[2] >= NEAR) != (there[2] >= NEAR):
            kept.append(here + (NEAR - here[2]) / (there[2] - here[2]) * (there - here))
    return np.array(kept)


def _draw_face(face: Face, intrinsics: Array, out: Drawing) -> None:
    height, width = out.tags.shape
    corners = _clip_near(face.corners)
    if len(corners) < 3:
        return
    outline = project(intrinsics, corners)
    x0, y0 = (int(v) for v in np.clip(np.floor(outline.min(axis=0)), 0, [width, height]))
    x1, y1 = (int(v) for v in np.clip(np.ceil(outline.max(axis=0)) + 1, 0, [width, height]))
    if x1 <= x0 or y1 <= y0:
        return
    mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
    sixteenths = np.clip(np.round((outline - [x0, y0]) * 16), -(2**30), 2**30).astype(np.int32)
    cv2.fillConvexPoly(mask, sixteenths, (255,), cv2.LINE_8, 4)
    nearness = _nearness(face, intrinsics, (x0, y0), (x1 - x0, y1 - y0))
    held = out.nearness[y0:y1, x0:x1]
    mask[nearness <= held] = 0
    if not mask.any():
        return
    colour = _sample(face, intrinsics, outline, (x0, y0), (x1 - x0, y1 - y0))
    cv2.copyTo(colour, mask, out.colour[y0:y1, x0:x1])
    cv2.copyTo(nearness, mask, held)
    out.tags[y0:y1, x0:x1][mask > 0] = face.tag


def _nearness(face: Face, intrinsics: Array, corner: tuple[int, int], size: tuple[int, int]) -> Floats:
    """1/depth of the face's plane over the rectangle of the image at `corner`: it is affine in the pixels."""
    normal = np.cross(face.across, face.down)
    slope = np.linalg.solve(intrinsics.T, normal) / float(normal @ face.origin)
    x, y = np.arange(corner[0], corner[0] + size[0]), np.arange(corner[1], corner[1] + size[1])
    along, down = np.asarray(slope[0] * x + slope[2], np.float32), np.asarray(slope[1] * y, np.float32)
    return along[None, :] + down[:, None]


def _sample(face: Face, intrinsics: Array, outline: Array, corner: tuple[int, int], size: tuple[int, int]) -> Image:
    """The face's texture over the rectangle of the image at `corner`."""
    plane = intrinsics @ np.stack([face.across, face.down, face.origin], axis=1)
    plane = np.array([[1, 0, -corner[0]], [0, 1, -corner[1]], [0, 0, 1.0]]) @ plane
    left, top, right, bottom = face.window
    across = np.roll(outline, -1, axis=0)
    drawn = abs(float(np.sum(outline[:, 0] * across[:, 1] - outline[:, 1] * across[:, 0]))) / 2.0
    texels = face.levels[0].shape[0] * face.levels[0].shape[1] * (right - left) * (bottom - top)
    level = int(np.clip(round(0.5 * float(np.log2(max(texels / max(drawn, 1.0), 1.0))) - 0.2), 0, len(face.levels) - 1))
    colour = _warp(face.levels[level], plane, size)
    if face.shadow is not None:
        dark = _warp(face.shadow, plane, size)
        colour = np.asarray(cv2.multiply(colour, np.repeat(dark[..., None], 3, axis=2), scale=1 / 255), np.uint8)
    if face.light != 1.0:
        colour = np.asarray(cv2.convertScaleAbs(colour, alpha=face.light), np.uint8)
    return colour


def _warp(texture: Image, plane: Array, size: tuple[int, int]) -> Image:
    height, width = texture.shape[:2]
    texel = np.array([[1 / width, 0, 0.5 / width], [0, 1 / height, 0.5 / height], [0, 0, 1.0]])
    warped = cv2.warpPerspective(texture, plane @ texel, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, np.uint8)
