"""Shots as clips: how a long shot is split, and the row of a span of frames."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

from egoworld_runner.clip import Clip
from egoworld_runner.tables import ClipSpan


def split(clip: Clip, start: int, end: int, longest_s: float) -> Iterator[tuple[int, int]]:
    """Frames [start, end) in the fewest spans of equal frame count that last at most ``longest_s`` each on average."""
    times = clip.index.time_s
    seconds = float(times[end - 1] - times[start]) + frame_seconds(clip)
    parts = min(end - start, max(1, math.ceil(seconds / longest_s - 1e-6)))
    yield from pairwise(start + (end - start) * part // parts for part in range(parts + 1))


def span(clip: Clip, start: int, end: int, shot: int, score: float) -> ClipSpan:
    """The row of frames [start, end); end_s is where the next frame begins."""
    times = clip.index.time_s
    return ClipSpan(
        start_frame=start,
        end_frame=end,
        start_s=float(times[start]),
        end_s=float(times[end]) if end < len(times) else float(times[-1]) + frame_seconds(clip),
        shot=shot,
        score=score,
        width=clip.width,
        height=clip.height,
        fps=clip.fps,
    )


def frame_seconds(clip: Clip) -> float:
    """The mean length of a frame, s; 0 where no rate is known."""
    return 1.0 / clip.fps if clip.fps else 0.0
