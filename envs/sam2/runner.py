"""Stage masks: hands and objects followed through a clip by SAM 2.1 (Ravi et al. 2024, arXiv:2408.00714)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from asking import FIRST_OBJECT, Ask, Asking, Box
from numpy.typing import NDArray
from pycocotools import mask as coco
from streaming import Model, Stream

from egoworld_runner import Clip, ClipFailed, Inputs, Params, Runner, tables
from egoworld_runner.annotations.prompts import prompts


class Sam2Masks(Runner):
    """Masks of hands (1 left, 2 right) and of objects (from 3): those a person showed, and those that were detected.

    Frames are decoded in order, once; memory does not grow with the clip. On a CPU one thread: the same clip gives the
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
        objects: set[int] = set()
        with said_when_full(clip, asking):
            for row in self._rows(clip, asking, max(0, round(params["look_back_s"] * clip.fps))):
                objects.update([row.obj_id] if row.obj_id >= FIRST_OBJECT else [])
                yield row
        clip.note("objects", len(objects))
        if shown:
            clip.note("shown", len(shown))
        if asking.left_out:
            clip.note("boxes_beyond_most_objects", asking.left_out)

    def _rows(self, clip: Clip, asking: Asking, look_back: int) -> Iterator[tables.Mask]:
        """look_back: how many frames are kept, so that what is new can be followed back through them."""
        stream, held = Stream(self._model, (clip.height, clip.width)), deque[Held]()
        for frame in clip.frames():
            asks = asking.asks(frame.index)
            now = Held(frame.index, frame.rgb, [])
            for obj_id, score, pixels in stream.step(frame.index, frame.rgb, asks):
                asking.saw(frame.index, obj_id, box_of(pixels))
                now.rows.append(mask_row(frame.index, obj_id, asking.label(obj_id), pixels, score))
            self._follow_back(now, held, [ask for ask in asks if asking.new(frame.index, ask)])
            held.append(now)
            if len(held) > look_back:
                yield from held.popleft().rows
            clip.progress(frame.index)
        for one in held:
            yield from one.rows

    def _follow_back(self, now: Held, held: Sequence[Held], asks: Sequence[Ask]) -> None:
        """Add the masks of new things to frames before: to the model, a video that runs backwards is a video."""
        if not asks or not held:
            return
        stream, labels = Stream(self._model, now.rgb.shape[:2]), {ask.obj_id: ask.label for ask in asks}
        list(stream.step(0, now.rgb, asks))
        for number, before in enumerate(reversed(held), 1):
            seen = list(stream.step(number, before.rgb, []))
            if not seen:
                return
            before.rows.extend(mask_row(before.frame, n, labels[n], pixels, score) for n, score, pixels in seen)


@dataclass(frozen=True)
class Held:
    """A frame whose rows are not given out yet."""

    frame: int
    rgb: NDArray[np.uint8]
    rows: list[tables.Mask]


@contextmanager
def said_when_full(clip: Clip, asking: Asking) -> Iterator[None]:
    """Turn the GPU's lack of memory into ClipFailed, which says what to change."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise ClipFailed(
            f"the GPU cannot hold {len(asking.followed)} things in {clip.width}x{clip.height} px: "
            f"{str(error).splitlines()[0]} Set masks.most_objects lower, or free some of it"
        ) from error


def check(params: Params) -> None:
    """Raise ClipFailed unless the parameters can be used."""
    if not params["every_s"] > 0:
        raise ClipFailed(f"masks.every_s is {params['every_s']}; set it above 0")
    if params["look_back_s"] < 0:
        raise ClipFailed(f"masks.look_back_s is {params['look_back_s']}; set it to 0 or more")
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
