"""One frame of a sample video and what is true in it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np

from .arm import capsules_of
from .geometry import Array, Image, Mask, apply, inverse, pose, project
from .hand_surface import SKIN, SLEEVE, Layer, Look, trace
from .motion import Choreography, Moment
from .options import SampleOptions
from .rasterizer import Drawing, Face, draw
from .room import LIGHT, PALETTES, Room, box_corners, box_faces, box_textures, cast, furnish, lit, shadow_map

HAND, ARM = 1, 2
FIRST_OBJECT = 3
LABELS: Mapping[int, str] = {HAND: "hand", ARM: "sleeve", FIRST_OBJECT: "object", FIRST_OBJECT + 1: "object"}
FOCAL = 0.66
FINE = 2


@dataclass(frozen=True)
class Truth:
    """What is true in one frame. Poses [4x4]; joints [21x3] metres in the camera frame, [21x2] pixels; modal masks."""

    frame: int
    shot: int
    t_world_camera: Array
    t_camera_object: Array
    obj_id: int
    object_size: Array
    joints: Array
    pixels: Array
    masks: Mapping[int, Mask]


def intrinsics_of(width: int, height: int) -> Array:
    """The pinhole [3x3] of every sample video of this size; no distortion."""
    focal = FOCAL * width
    return np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1.0]])


class Shot:
    """One shot: its room, its motions, and the object that is moved."""

    def __init__(self, options: SampleOptions, index: int) -> None:
        rng = np.random.default_rng([options.seed, index])
        starts = (*options.shot_starts, options.frame_count)
        self.start, self.length = starts[index], starts[index + 1] - starts[index]
        self.obj_id = FIRST_OBJECT + index
        self.motion = Choreography(rng, index, self.length / options.fps)
        palette = PALETTES[index]
        self.room: Room = furnish(rng, palette, wall_at=(0.62, 1.5)[index])
        size = self.motion.object_size
        base, ink = ((236, 226, 196), (196, 44, 40)) if index == 0 else ((40, 88, 160), (246, 214, 60))
        textures = box_textures(rng, size, base, ink, 2400, "tbnswe")
        self.object_faces = box_faces(size, np.eye(4), textures, self.obj_id, "tbnswe")

    def faces(self, moment: Moment) -> list[Face]:
        """Everything but the hand, with the shadows that the hand and the object throw."""
        shadow = self._shadow(moment)
        top = replace(self.room.top, shadow=shadow)
        return [top, *self.room.faces, *(lit(face.moved(moment.t_world_object)) for face in self.object_faces)]

    def _shadow(self, moment: Moment) -> Image:
        corners = box_corners(self.motion.object_size, moment.t_world_object)
        height = float(corners[:, 2].min() - self.room.top.origin[2])
        shadow = cast(shadow_map(), corners, 0.45, 0.008 + 0.25 * max(height, 0.0))
        joints = apply(moment.t_world_hand, self.motion.skeleton.joints(moment.angles))
        palm = joints[[0, 1, 5, 9, 13, 17]]
        arm = np.stack([joints[0], moment.elbow])
        arm = np.concatenate([arm + 0.035 * moment.t_world_hand[:3, 1], arm - 0.035 * moment.t_world_hand[:3, 1]])
        shadow = cast(cast(shadow, palm, 0.3, 0.02), arm, 0.25, 0.03)
        for finger in range(5):
            shadow = cast(shadow, joints[1 + 4 * finger : 5 + 4 * finger], 0.22, 0.012)
        return shadow


class FrameRenderer:
    """Renders any frame of one sample video."""

    def __init__(self, options: SampleOptions) -> None:
        self.options = options
        self.intrinsics = intrinsics_of(options.width, options.height)
        self._shot = lru_cache(maxsize=2)(lambda index: Shot(options, index))

    def render(self, frame: int) -> tuple[Image, Truth]:
        """RGB [height, width, 3] of a frame by its decode index, and its truth."""
        options = self.options
        index = int(frame >= options.shot_starts[1])
        shot: Shot = self._shot(index)
        moment = shot.motion.at((frame - shot.start) / max(shot.length - 1, 1))
        half = (FINE - 1) / 2
        fine = np.array([[FINE, 0, half], [0, FINE, half], [0, 0, 1.0]]) @ self.intrinsics
        drawing = draw(shot.faces(moment), moment.t_world_camera, fine, FINE * options.width, FINE * options.height)
        t_camera_world = inverse(moment.t_world_camera)
        t_camera_hand = t_camera_world @ moment.t_world_hand
        skeleton = shot.motion.skeleton
        capsules = capsules_of(skeleton, moment.angles, t_camera_hand, apply(t_camera_world, moment.elbow))
        palette = shot.room.palette
        look = Look(np.array(palette.skin), np.array(palette.cloth), t_camera_world[:3, :3] @ LIGHT)
        layer = trace(capsules, self.intrinsics, options.width, options.height, look)
        covers = {obj_id: np.zeros(drawing.tags.shape, np.float32) for obj_id in (HAND, ARM)}
        if layer is not None:
            _lay_over(drawing, layer, covers)
        covers[shot.obj_id] = (drawing.tags == shot.obj_id) * (1.0 - covers[HAND] - covers[ARM])
        masks = {obj_id: _halve(cover.astype(np.float32)) > 0.5 for obj_id, cover in covers.items()}
        joints = apply(t_camera_hand, skeleton.joints(moment.angles))
        truth = Truth(
            frame, index, moment.t_world_camera, t_camera_world @ moment.t_world_object, shot.obj_id,
            shot.motion.object_size, joints, project(self.intrinsics, joints), masks,
        )  # fmt: skip
        return self._expose(_halve(drawing.colour.astype(np.float32)), frame), truth

    def _expose(self, light: Array, frame: int) -> Image:
        """The sensor's image: shot noise and read noise."""
        rng = np.random.default_rng([self.options.seed, 99, frame])
        grey = rng.standard_normal((*light.shape[:2], 1), dtype=np.float32)
        tone = rng.standard_normal(light.shape, dtype=np.float32)
        noisy = light + (grey * 1.3 + tone * 0.8) * np.sqrt(0.35 + light / 190.0)
        return np.clip(noisy + 0.5, 0, 255).astype(np.uint8)


def _halve(image: Array) -> Array:
    size = (image.shape[1] // FINE, image.shape[0] // FINE)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def _lay_over(drawing: Drawing, layer: Layer, covers: dict[int, Array]) -> None:
    """Draw the hand where it is nearer than what is there, and note how far it covers each fine pixel."""
    height, width = layer.cover.shape
    rows = slice(FINE * layer.top, FINE * (layer.top + height))
    columns = slice(FINE * layer.left, FINE * (layer.left + width))
    colour, cover, depth, material = (
        layer_part.repeat(FINE, axis=0).repeat(FINE, axis=1)
        for layer_part in (layer.colour, layer.cover, layer.depth, layer.material)
    )
    nearer = depth * drawing.nearness[rows, columns] < 1.0
    cover = np.where(nearer, cover, 0.0).astype(np.float32)
    under = drawing.colour[rows, columns]
    under[:] = (under * (1.0 - cover[..., None]) + colour * cover[..., None] + 0.5).astype(np.uint8)
    covers[HAND][rows, columns] = cover * (material == SKIN)
    covers[ARM][rows, columns] = cover * (material == SLEEVE)


__all__ = ["HAND", "LABELS", "FrameRenderer", "Truth", "intrinsics_of", "pose"]
