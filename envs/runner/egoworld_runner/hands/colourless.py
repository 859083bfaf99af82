"""A second pass in grey where no hand was seen: a model that learnt bare skin misses gloves for their colour."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import groupby

import numpy as np

from egoworld_runner.clip import Clip
from egoworld_runner.hands.backwards import Look, Seen
from egoworld_runner.hands.sighting import Sighting
from egoworld_runner.video import Frame, frames

SHORTEST_S = 0.2
"""Shorter stretches without a hand are not looked at again, s."""

GREY = np.array([0.299, 0.587, 0.114])
"""Brightness of red, green and blue (ITU-R BT.601)."""


def seen_without_colour(clip: Clip, seen: Seen, look: Callable[[], Look]) -> list[list[Sighting]]:
    """What is seen in the frames of a clip when those without a hand are shown in grey; what was seen stays.

    look: begins a pass that remembers nothing. Costs as much as the first pass over the frames without a hand.
    """
    all_seen = [list(some) for some in seen]
    for empty, stretch in groupby(range(len(seen)), key=lambda i: not seen[i]):
        at = list(stretch)
        if not empty or len(at) < SHORTEST_S * clip.fps:
            continue
        step, start = look(), clip.start_frame
        for frame in frames(clip.path, clip.index, start + at[0], start + at[-1] + 1):
            all_seen[frame.index - start] += step(replace(frame, rgb=_grey(frame)))
    return all_seen


def _grey(frame: Frame) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    grey = np.rint(frame.rgb @ GREY).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)
