"""Stage masks: hands and objects followed through a clip by SAM 2.1 (Ravi et al. 2024, arXiv:2408.00714)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from asking import FIRST_OBJECT, Asking, Box
from numpy.typing import NDArray
from pycocotools import mask as coco
from streaming import Model, Stream

from egoworld_runner import Clip, ClipFailed, Inputs, Params, Runner, tables
from egoworld_runner.annotations.prompts import prompts


class Sam2Masks(Runner):
    """Masks of hands (1 left, 2 right) and of objects (from 3): those a person showed, and those that were detected.

    Frames are taken in order, once; memory does not grow with the clip. On a CPU one thread: the same clip gives the
    same bytes.
    """

    writes = (tables.Mask,)

    def setup(self, weights: Mapping[str, Path], device: str) -> None:
        """Load the model; raises OSError naming what its folder lacks."""
        if device == "cpu":
            torch.set_num_threads(1)
        self._model = Model.load(weights["sam2"], device)

    def run(self, clip: Clip, inputs: Inputs, params: Params) -> Iterator[tables.Row]:
        """Rows ordered by frame, and by when a thing was first shown. Raises ClipFailed for unusable parameters."""
        check(params)
        shown = prompts(clip, inputs)
        asking = Asking.of(clip, inputs.rows("hand_poses"), inputs.rows("detections"), shown, params)
        if not asking.anything:
            clip.nothing("there is no hand, nothing was detected, and nobody showed anything")
            return
        stream = Stream(self._model, (clip.height, clip.width))
        objects: set[int] = set()
        for frame in clip.frames():
            try:
                seen = list(stream.step(frame.index, frame.rgb, asking.asks(frame.index)))
            except torch.OutOfMemoryError as error:
                raise ClipFailed(
                    f"the GPU cannot hold {len(asking.followed)} things in {clip.width}x{clip.height} px: "
                    f"{str(error).splitlines()[0]} Set masks.most_objects lower, or free some of it"
                ) from error
            for obj_id, score, pixels in seen:
                asking.saw(frame.index, obj_id, box_of(pixels))
                objects.update([obj_id] if obj_id >= FIRST_OBJECT else [])
                yield mask_row(frame.index, obj_id, asking.label(obj_id), pixels, score)
            clip.progress(frame.index)
        clip.note("objects", len(objects))
        if shown:
            clip.note("shown", len(shown))
        if asking.left_out:
            clip.note("boxes_beyond_most_objects", asking.left_out)


def check(params: Params) -> None:
    """Raise ClipFailed unless the parameters can be used."""
    if not params["every_s"] > 0:
        raise ClipFailed(f"masks.every_s is {params['every_s']}; set it above 0")
    if not 0 < params["same"] < 1:
        raise ClipFailed(f"masks.same is {params['same']}; set it between 0 and 1")
    if not params["most_objects"] >= 1:
        raise ClipFailed(f"masks.most_objects is {params['most_objects']}; set it to 1 or more")


def box_of(pixels: NDArray[np.bool_]) -> Box:
    """Edges x0, y0, x1, y1 of what is in a mask, px, x1 and y1 exclusive."""
    rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def mask_row(frame: int, obj_id: int, label: str, pixels: NDArray[np.bool_], score: float) -> tables.Mask:
    """The row of a mask [h, w]."""
    encoded = coco.encode(np.asfortranarray(pixels, np.uint8))
    rle, (height, width) = encoded["counts"].decode("ascii"), pixels.shape
    return tables.Mask(frame, obj_id, label, rle, height, width, int(coco.area(encoded)), round(score, 4))
