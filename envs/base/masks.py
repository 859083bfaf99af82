"""Stage masks, classical: hands by their joints, objects by detected boxes, both refined by GrabCut over the clip."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import IO

import cv2
import numpy as np
from hands import Picture
from passes import FIRST_OBJECT, Passes

from egoworld_runner import Clip, Inputs, Params, Runner, tables
from egoworld_runner.annotations.prompts import prompts


class GrabCutMasks(Runner):
    """Masks of hands (1 left, 2 right) and of objects (from 3, the surest first), also before and after they move.

    Objects are those that were detected, and before them those that a person showed, in the frames where they did.
    """

    writes = (tables.Mask,)

    def run(self, clip: Clip, inputs: Inputs, params: Params) -> Iterator[tables.Row]:
        """Rows ordered by frame and obj_id. Two passes: forwards from where an object was seen best, then backwards."""
        cv2.setNumThreads(1)
        cv2.setRNGSeed(0)
        scale = min(1.0, float(params["work_width"]) / clip.width)
        size = (round(clip.width * scale), round(clip.height * scale))
        shown = prompts(clip, inputs)
        passes = Passes(clip, size, inputs.rows("hand_poses"), inputs.rows("detections"), shown)
        with tempfile.TemporaryFile() as scratch:
            for frame in clip.frames():
                small = reduced(frame.rgb, size)
                passes.forward(frame.index, small)
                if frame.index <= passes.last_seed:
                    scratch.write(np.ascontiguousarray(small).data)
                clip.progress(frame.index)
            for index, rgb in backwards(scratch, clip.start_frame, size):
                if not passes.backward(index, rgb):
                    break
        rows = passes.rows()
        yield from rows
        if shown:
            clip.note("shown", len(shown))
            clip.note("shown_not_found", passes.not_found)
        clip.note("objects", len({row.obj_id for row in rows if row.obj_id >= FIRST_OBJECT}))


def reduced(rgb: Picture, size: tuple[int, int]) -> Picture:
    """A picture at ``size`` (width, height)."""
    return rgb if rgb.shape[1::-1] == size else cv2.resize(rgb, size, interpolation=cv2.INTER_AREA).astype(np.uint8)


def backwards(scratch: IO[bytes], first: int, size: tuple[int, int]) -> Iterator[tuple[int, Picture]]:
    """Index and picture, from the last to the first, of what was written to a file; ``first``: index of the first.

    A file, because memory must not grow with the clip, and decoding backwards begins again at every seek point.
    """
    width, height = size
    count = scratch.tell() // (3 * width * height)
    for number in reversed(range(count)):
        scratch.seek(number * 3 * width * height)
        pixels = np.frombuffer(scratch.read(3 * width * height), np.uint8)
        yield first + number, pixels.reshape(height, width, 3)
