"""Shots as clips: what was filmed in one go, where it was cut, how a long shot is split, the row of a span."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from egoworld_runner.clip import Clip
from egoworld_runner.errors import ClipFailed
from egoworld_runner.tables import ClipSpan
from egoworld_runner.video import HELD_S


@dataclass(frozen=True)
class Cut:
    """The first frame of a new shot, and how much speaks for it, as its model counts that; 0 where a take begins."""

    frame: int
    score: float


def clips_of(clip: Clip, params: Mapping[str, Any], cuts_of: Callable[[Clip], Iterable[Cut]]) -> Iterator[ClipSpan]:
    """The clips of a video in order; what became of its frames goes into the notes.

    cuts_of: the cuts of a take in order, asked of each take by itself: a gap in time or damage ends a clip. A cut
    less than min_shot_frames behind another is not taken; a shot longer than max_clip_s is split evenly, a rest below
    min_shot_frames is left out. Raises ClipFailed.
    """
    least = int(params["min_shot_frames"])
    filmed = takes(clip, float(params["max_gap_s"]))
    shots: list[tuple[Cut, int]] = []
    for take in filmed:
        starts = [Cut(take.start_frame, 0.0)]
        for cut in cuts_of(take) if len(take) >= least else ():
            starts += [cut] if cut.frame - starts[-1].frame >= least else []
        shots += zip(starts, [*(cut.frame for cut in starts[1:]), take.end_frame], strict=True)
    kept = [(first, end) for first, end in shots if end - first.frame >= least or len(shots) == 1]
    count = 0
    for shot, (first, end) in enumerate(kept):
        for start, stop in split(clip, first.frame, end, float(params["max_clip_s"])):
            count += 1
            yield span(clip, start, stop, shot, first.score)
    clip.note("takes", len(filmed))
    clip.note("shots", len(kept))
    clip.note("clips", count)
    clip.note("frames_left_out", len(clip) - sum(end - first.frame for first, end in kept))


def takes(clip: Clip, longest_gap_s: float) -> list[Clip]:
    """The parts of a video that were filmed in one go, damaged frames left out.

    One ends where a picture stands for longer than ``longest_gap_s``, where another clock begins and where pictures
    were lost. Raises ClipFailed when no two frames are in one.
    """
    index, frames = clip.index, np.arange(clip.start_frame, clip.end_frame)
    damaged = index.damaged[frames]
    begins = index.restart[frames]
    begins[1:] |= (np.diff(clip.times) > longest_gap_s + 1e-6) | (damaged[1:] != damaged[:-1])
    begins[0] = True
    bounds = [*frames[begins].tolist(), clip.end_frame]
    spans = [(start, end) for start, end in pairwise(bounds) if not index.damaged[start]]
    if all(end - start < 2 for start, end in spans):
        raise ClipFailed(
            f"{clip.path.name}: no two pictures in {longest_gap_s:g} s that are not damaged, they are "
            f"{float(np.median(np.diff(clip.times))):.1f} s apart; give a video, not a timelapse, or raise max_gap_s"
        )
    return [replace(clip, start_frame=start, end_frame=end) for start, end in spans]


def split(clip: Clip, start: int, end: int, longest_s: float) -> Iterator[tuple[int, int]]:
    """Frames [start, end) in the fewest spans of equal frame count that last at most ``longest_s`` each on average."""
    times = clip.index.time_s
    seconds = float(times[end - 1] - times[start]) + frame_seconds(clip)
    parts = min(end - start, max(1, math.ceil(seconds / longest_s - 1e-6)))
    yield from pairwise(start + (end - start) * part // parts for part in range(parts + 1))


def span(clip: Clip, start: int, end: int, shot: int, score: float) -> ClipSpan:
    """The row of frames [start, end); end_s is where the next frame begins, or would have begun before a gap."""
    index, times = clip.index, clip.index.time_s
    follows = end < len(index) and not index.restart[end] and times[end] - times[end - 1] <= HELD_S
    return ClipSpan(
        start_frame=start,
        end_frame=end,
        start_s=float(times[start]),
        end_s=float(times[end]) if follows else float(times[end - 1]) + frame_seconds(clip),
        shot=shot,
        score=score,
        width=clip.width,
        height=clip.height,
        fps=clip.fps,
    )


def frame_seconds(clip: Clip) -> float:
    """The mean length of a frame, s; 0 where no rate is known."""
    return 1.0 / clip.fps if clip.fps else 0.0
