"""One frame of a sample video and what is true in it."""

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from egoworld_resources.sample.arm import arm_capsules
from egoworld_resources.sample.boxes import LIGHT
from egoworld_resources.sample.capsules import SKIN, SLEEVE
from egoworld_resources.sample.geometry import Array, Floats, Image, Mask, apply, inverse, project
from egoworld_resources.sample.hand_surface import Layer, trace
from egoworld_resources.sample.motion import Moment
from egoworld_resources.sample.options import SampleOptions
from egoworld_resources.sample.rasterizer import Drawing, draw
from egoworld_resources.sample.shading import Look
from egoworld_resources.sample.shots import FIRST_OBJECT, Shot

HAND, ARM = 1, 2
LABELS: Mapping[int, str] = {HAND: "hand", ARM: "sleeve", FIRST_OBJECT: "object", FIRST_OBJECT + 1: "object"}
FOCAL_PER_WIDTH = 0.66
FINE = 2


@dataclass(frozen=True)
class Truth:
    """What is true in one frame. Poses [4x4]; joints [21x3] metres in the camera frame, [21x2] pixels.

    `masks`: the pixels [h, w] of each obj_id that are seen; `object_size` [3] metres.
    """

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
    focal = FOCAL_PER_WIDTH * max(width, height * 16 / 9)
    return np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1.0]])


class FrameRenderer:
    """Renders any frame of one sample video; a shot is furnished when its first frame is rendered."""

    def __init__(self, options: SampleOptions) -> None:
        self.options = options
        self.intrinsics = intrinsics_of(options.width, options.height)
        self._shots: dict[int, Shot] = {}

    def render(self, frame: int) -> tuple[Image, Truth]:
        """RGB [height, width, 3] of a frame by its decode index, and its truth."""
        index = int(frame >= self.options.shot_starts[1])
        if index not in self._shots:
            self._shots[index] = Shot(self.options, index)
        shot = self._shots[index]
        moment = shot.moment(frame)
        drawing = self._draw(shot, moment)
        masks = self._lay_hand(shot, moment, drawing)
        t_camera_world = inverse(moment.t_world_camera)
        joints = apply(t_camera_world @ moment.t_world_hand, shot.motion.skeleton.joints(moment.angles))
        truth = Truth(
            frame=frame,
            shot=index,
            t_world_camera=moment.t_world_camera,
            t_camera_object=t_camera_world @ moment.t_world_object,
            obj_id=shot.obj_id,
            object_size=shot.motion.object_size,
            joints=joints,
            pixels=project(self.intrinsics, joints),
            masks=masks,
        )
        return self._expose(_coarse(drawing.colour.astype(np.float32)), frame), truth

    def _draw(self, shot: Shot, moment: Moment) -> Drawing:
        """Everything but the hand, at FINE times the size."""
        half = (FINE - 1) / 2
        fine = np.array([[FINE, 0, half], [0, FINE, half], [0, 0, 1.0]]) @ self.intrinsics
        size = FINE * self.options.width, FINE * self.options.height
        return draw(shot.faces(moment), moment.t_world_camera, fine, *size)

    def _lay_hand(self, shot: Shot, moment: Moment, drawing: Drawing) -> dict[int, Mask]:
        """Draw the hand into the drawing; the masks of all that has an obj_id."""
        t_camera_world = inverse(moment.t_world_camera)
        t_camera_hand, elbow = t_camera_world @ moment.t_world_hand, apply(t_camera_world, moment.elbow)
        capsules = arm_capsules(shot.motion.skeleton, moment.angles, t_camera_hand, elbow)
        palette = shot.room.palette
        skin, light = palette.glove if self.options.gloves else palette.skin, t_camera_world[:3, :3] @ LIGHT
        look = Look(np.array(skin), np.array(palette.cloth), light, self.options.gloves)
        layer = trace(capsules, self.intrinsics, self.options.width, self.options.height, look)
        covers = {obj_id: np.zeros(drawing.tags.shape, np.float32) for obj_id in (HAND, ARM)}
        if layer is not None:
            _lay_over(drawing, layer, covers)
        bare = (drawing.tags == shot.obj_id).astype(np.float32)
        covers[shot.obj_id] = bare * (1.0 - covers[HAND] - covers[ARM])
        return {obj_id: _coarse(cover) > 0.5 for obj_id, cover in covers.items()}

    def _expose(self, light: Floats, frame: int) -> Image:
        """The sensor's image: noise that grows with the light, more of it in brightness than in colour."""
        rng = np.random.default_rng([self.options.seed, 99, frame])
        grey = rng.standard_normal((*light.shape[:2], 1), dtype=np.float32)
        tone = rng.standard_normal(light.shape, dtype=np.float32)
        noisy = light + (grey * 1.3 + tone * 0.8) * np.sqrt(0.35 + light / 190.0)
        return np.clip(noisy + 0.5, 0, 255).astype(np.uint8)


def _coarse(image: Floats) -> Floats:
    """The mean of each FINE x FINE block."""
    size = (image.shape[1] // FINE, image.shape[0] // FINE)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.float32)


def _lay_over(drawing: Drawing, layer: Layer, covers: dict[int, Floats]) -> None:
    """Draw the hand where it is nearer than what is there, and note how far it covers each fine pixel."""
    height, width = layer.cover.shape
    rows = slice(FINE * layer.top, FINE * (layer.top + height))
    columns = slice(FINE * layer.left, FINE * (layer.left + width))
    colour, cover, depth, material = (
        part.repeat(FINE, axis=0).repeat(FINE, axis=1)
        for part in (layer.colour, layer.cover, layer.depth, layer.material)
    )
    nearer = depth * drawing.nearness[rows, columns] < 1.0
    cover = np.where(nearer, cover, 0.0).astype(np.float32)
    under = drawing.colour[rows, columns]
    under[:] = (under * (1.0 - cover[..., None]) + colour * cover[..., None] + 0.5).astype(np.uint8)
    covers[HAND][rows, columns] = cover * (material == SKIN)
    covers[ARM][rows, columns] = cover * (material == SLEEVE)
