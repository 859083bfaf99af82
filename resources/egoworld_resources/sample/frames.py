"""One frame of a sample video and what is true in it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import cv2
import numpy as np

from egoworld_resources.sample.arm import arm_capsules
from egoworld_resources.sample.boxes import LIGHT
from egoworld_resources.sample.capsules import SKIN, SLEEVE
from egoworld_resources.sample.geometry import Array, Floats, Image, Mask, apply, inverse
from egoworld_resources.sample.hand_surface import Layer, trace
from egoworld_resources.sample.motion import Moment
from egoworld_resources.sample.options import SampleOptions
from egoworld_resources.sample.rasterizer import Drawing, draw
from egoworld_resources.sample.shading import Look
from egoworld_resources.sample.shots import FIRST_OBJECT, Shot
from egoworld_runner.lenses import Lens
from egoworld_runner.pixels import resized

HAND, ARM = 1, 2
LABELS: Mapping[int, str] = {HAND: "hand", ARM: "sleeve", FIRST_OBJECT: "object", FIRST_OBJECT + 1: "object"}
FOCAL_PER_WIDTH = 0.66
FINE = 2
WIDER = 0.75
"""The focal length of the drawing that a wide lens is bent from: its corners must lie inside."""
BANDS = 6
"""Rows that are read at the same moment are a sixth of a picture."""
GLIMPSES = 5


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


def lens_of(options: SampleOptions) -> Lens:
    """The lens of a sample video."""
    k = intrinsics_of(options.width, options.height)
    numbers = (float(k[0, 0]), float(k[1, 1]), float(k[0, 2]), float(k[1, 2]))
    return Lens("SIMPLE_RADIAL", numbers, (options.k1,)) if options.k1 else Lens("PINHOLE", numbers)


class FrameRenderer:
    """Renders any frame of one sample video; a shot is furnished when its first frame is rendered."""

    def __init__(self, options: SampleOptions) -> None:
        self.options = options
        self.lens = lens_of(options)
        self.intrinsics = intrinsics_of(options.width, options.height)
        if options.k1:
            self.intrinsics = self.intrinsics @ np.diag([WIDER, WIDER, 1.0])
        self._shots: dict[int, Shot] = {}

    @cached_property
    def _bend(self) -> tuple[Floats, Floats]:
        """Where each pixel [h, w] of the picture lies in the drawing of a pinhole, x and y in fine pixels."""
        rows, columns = np.mgrid[: self.options.height, : self.options.width]
        flat = self.lens.normalised(np.stack([columns, rows], axis=-1).astype(np.float64))
        at = resized(flat * np.diag(self.intrinsics)[:2] + self.intrinsics[:2, 2], float(FINE))
        return at[..., 0].astype(np.float32), at[..., 1].astype(np.float32)

    def render(self, frame: int) -> tuple[Image, Truth]:
        """RGB [height, width, 3] of a frame by its decode index, and its truth.

        The truth of a frame whose rows or light come from a span of time is that of the middle of the span; its masks
        are what each row shows.
        """
        index = int(frame >= self.options.shot_starts[1])
        if index not in self._shots:
            self._shots[index] = Shot(self.options, index)
        shot = self._shots[index]
        moment = shot.moment(frame)
        light, masks = self._read_out(shot, frame)
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
            pixels=self.lens.project(joints),
            masks=masks,
        )
        return self._expose(light, frame), truth

    def _read_out(self, shot: Shot, frame: int) -> tuple[Floats, dict[int, Mask]]:
        """The light [h, w, 3] and the masks of a frame, whose rows are read in BANDS, one after the other."""
        if not self.options.readout:
            return self._gathered(shot, frame)
        middles = (np.arange(BANDS) + 0.5) / BANDS - 0.5
        bands = [self._gathered(shot, frame + self.options.readout * float(middle)) for middle in middles]
        edges = np.linspace(0, self.options.height, BANDS + 1).round().astype(int)
        rows = [slice(int(low), int(high)) for low, high in pairwise(edges)]
        light = np.concatenate([band[0][part] for band, part in zip(bands, rows, strict=True)])
        kept = zip(bands, rows, strict=True)
        parts = [{obj_id: mask[part] for obj_id, mask in band[1].items()} for band, part in kept]
        return light, {obj_id: np.concatenate([part[obj_id] for part in parts]) for obj_id in parts[0]}

    def _gathered(self, shot: Shot, at: float) -> tuple[Floats, dict[int, Mask]]:
        """The light gathered while the shutter is open, as the mean of GLIMPSES, and the masks of the middle."""
        light, masks = self._seen(shot, shot.moment(at))
        if not self.options.exposure:
            return light, masks
        offsets = self.options.exposure * (np.arange(GLIMPSES) / (GLIMPSES - 1) - 0.5)
        lights = [self._seen(shot, shot.moment(at + float(off)))[0] if off else light for off in offsets]
        return np.asarray(np.mean(lights, axis=0), np.float32), masks

    def _seen(self, shot: Shot, moment: Moment) -> tuple[Floats, dict[int, Mask]]:
        drawing = self._draw(shot, moment)
        covers = self._lay_hand(shot, moment, drawing)
        colour = drawing.colour.astype(np.float32)
        if self.options.k1:
            colour = self._bent(colour)
            return colour, {obj_id: self._bent(cover) > 0.5 for obj_id, cover in covers.items()}
        return _coarse(colour), {obj_id: _coarse(cover) > 0.5 for obj_id, cover in covers.items()}

    def _bent(self, fine: Floats) -> Floats:
        return np.asarray(cv2.remap(fine, *self._bend, cv2.INTER_LINEAR), np.float32)

    def _draw(self, shot: Shot, moment: Moment) -> Drawing:
        """Everything but the hand, at FINE times the size."""
        half = (FINE - 1) / 2
        fine = np.array([[FINE, 0, half], [0, FINE, half], [0, 0, 1.0]]) @ self.intrinsics
        size = FINE * self.options.width, FINE * self.options.height
        return draw(shot.faces(moment), moment.t_world_camera, fine, *size)

    def _lay_hand(self, shot: Shot, moment: Moment, drawing: Drawing) -> dict[int, Floats]:
        """Draw the hand into the drawing; how far everything that has an obj_id covers each fine pixel."""
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
        return covers

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
