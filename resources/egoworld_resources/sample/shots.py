"""One shot of a sample: its room, its motions, and the object that the hand moves."""

from dataclasses import replace

import numpy as np

from egoworld_resources.sample.boxes import box_corners, box_faces, box_textures, cast, lit, shadow_map
from egoworld_resources.sample.geometry import Image, apply
from egoworld_resources.sample.motion import Choreography, Moment
from egoworld_resources.sample.options import SampleOptions
from egoworld_resources.sample.palettes import PALETTES
from egoworld_resources.sample.rasterizer import Face
from egoworld_resources.sample.room import furnish

FIRST_OBJECT = 3
OBJECT_COLOURS = (((236.0, 226.0, 196.0), (196.0, 44.0, 40.0)), ((40.0, 88.0, 160.0), (246.0, 214.0, 60.0)))
WALLS_AT = (0.62, 1.5)
SIDES = "tbnswe"


class Shot:
    """The shot at `index` 0 or 1: frames `start` to `start + length` of the video."""

    def __init__(self, options: SampleOptions, index: int) -> None:
        rng = np.random.default_rng([options.seed, index])
        starts = (*options.shot_starts, options.frame_count)
        self.start, self.length = starts[index], starts[index + 1] - starts[index]
        self.obj_id = FIRST_OBJECT + index
        self.motion = Choreography(rng, index, self.length / options.fps, options.head)
        detail = min(max(options.width / 640, 0.25), 3.0)
        self.room = furnish(rng, PALETTES[index], WALLS_AT[index], detail)
        size = self.motion.object_size
        textures = box_textures(rng, size, *OBJECT_COLOURS[index], per_metre=2400 * detail, sides=SIDES)
        self.object_faces = box_faces(size, np.eye(4), textures, self.obj_id, SIDES)

    def moment(self, frame: float) -> Moment:
        """Where everything is in a frame, by its decode index in the video; between two frames by a fraction."""
        return self.motion.at((frame - self.start) / max(self.length - 1, 1))

    def faces(self, moment: Moment) -> list[Face]:
        """Everything but the hand, with the shadows that the hand and the object throw on the table."""
        top = replace(self.room.top, shadow=self._shadow(moment))
        return [top, *self.room.faces, *(lit(face.moved(moment.t_world_object)) for face in self.object_faces)]

    def _shadow(self, moment: Moment) -> Image:
        corners = box_corners(self.motion.object_size, moment.t_world_object)
        height = float(corners[:, 2].min() - self.room.top.origin[2])
        shadow = cast(shadow_map(), corners, 0.45, 0.008 + 0.25 * max(height, 0.0))
        joints = apply(moment.t_world_hand, self.motion.skeleton.joints(moment.angles))
        bones, half = np.stack([joints[0], moment.elbow]), 0.035 * moment.t_world_hand[:3, 1]
        shadow = cast(shadow, joints[[0, 1, 5, 9, 13, 17]], 0.3, 0.02)
        shadow = cast(shadow, np.concatenate([bones + half, bones - half]), 0.25, 0.03)
        for finger in range(5):
            shadow = cast(shadow, joints[1 + 4 * finger : 5 + 4 * finger], 0.22, 0.012)
        return shadow
