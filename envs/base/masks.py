"""Stage masks, classical: hands by their joints, objects by detected boxes, both refined by GrabCut over the clip."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
from hands import Picture
from passes import FIRST_OBJECT, Passes

from egoworld_runner import Clip, Inputs, Params, Runner, tables

BLOCK = 48
"""Frames in memory at a time when a clip is gone through backwards."""


class GrabCutMasks(Runner):
    """Masks of hands (1 left, 2 right) and of objects (from 3, the surest first), also before and after they move."""

    writes = (tables.Mask,)

    def run(self, clip: Clip, inputs: Inputs, params: Params) -> Iterator[tables.Row]:
        """Rows ordered by frame and obj_id. Two passes: forwards from where an object was seen best, then backwards."""
        cv2.setNumThreads(1)
        cv2.setRNGSeed(0)
        scale = min(1.0, float(params["work_width"]) / clip.width)
        size = (round(clip.width * scale), round(clip.height * scale))
        passes = Passes(clip, size, inputs.rows("hand_poses"), inputs.rows("detections"))
        for frame in clip.frames():
            passes.forward(frame.index, reduced(frame.rgb, size))
            clip.progress(frame.index)
        for index, rgb in backwards(clip, size):
            if not passes.backward(index, rgb):
                break
        rows = passes.rows()
        yield from rows
        clip.note("objects", len({row.obj_id for row in rows if row.obj_id >= FIRST_OBJECT}))


def reduced(rgb: Picture, size: tuple[int, int]) -> Picture:
    """A picture at ``size`` (width, height)."""
    return rgb if rgb.shape[1::-1] == size else cv2.resize(rgb, size, interpolation=cv2.INTER_AREA).astype(np.uint8)


def backwards(clip: Clip, size: tuple[int, int]) -> Iterator[tuple[int, Picture]]:
    """Index and reduced picture of the frames of a clip from the last to the first, a block in memory at a time."""
    for end in range(clip.end_frame, clip.start_frame, -BLOCK):
        part = replace(clip, start_frame=max(clip.start_frame, end - BLOCK), end_frame=end)
        yield from reversed([(frame.index, reduced(frame.rgb, size)) for frame in part.frames()])
