"""When frames are shown: from the timestamps of a file as far as they can be meant, else from its declared rate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

MISSING = int(np.iinfo(np.int64).min)
"""Stands for the timestamp of a frame that has none."""

MAX_FPS = 1000.0
DEFAULT_FPS = 30.0
MAX_GAP_S = 86_400.0
"""After a longer gap another clock is taken to have begun."""

MANY = 3
"""As many frames in a row that rise among themselves are not wrong: another clock has begun."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Timing:
    """time_s [n]: s from the first frame, rising; restart [n]: frames that another clock begins with.

    stamped: from the file's timestamps; False when most are missing, repeat or fall, so that a rate stands for them.
    """

    time_s: Array
    restart: NDArray[np.bool_]
    stamped: bool

    @classmethod
    def of(cls, ticks: NDArray[np.int64], base: float, rate: float) -> Timing:
        """Timestamps of all frames in ticks of ``base`` s (0: none are meant); rate: frames per second as declared.

        A timestamp that repeats, falls or jumps ahead for one frame is replaced from its neighbours, and only that.
        """
        runs = believed(ticks, base) if base > 0 else []
        known = sum(map(len, runs))
        steps = [np.diff(ticks[run]) / np.diff(run) * base for run in runs]
        typical = float(np.median(np.concatenate(steps))) if any(map(len, steps)) else 0.0
        credible = typical > 0 and _mean(ticks, runs, base) * MAX_FPS >= 1
        restart = np.zeros(len(ticks), np.bool_)
        if len(ticks) > 1 and (2 * known < len(ticks) or not credible):
            fps = rate if 1 / MAX_GAP_S < rate <= MAX_FPS else DEFAULT_FPS
            return cls(np.arange(len(ticks)) / fps, restart, stamped=False)
        runs = runs or [[0]]
        begins = [0, *(run[0] for run in runs[1:])]
        restart[begins[1:]] = True
        time_s, at = np.zeros(len(ticks)), 0.0
        seconds = (ticks - ticks[runs[0][0]]).astype(np.float64) * base
        for run, (begin, end) in zip(runs, pairwise([*begins, len(ticks)]), strict=True):
            part = _filled(run, seconds[run], np.arange(begin, end), typical)
            time_s[begin:end] = part - part[0] + at
            at = time_s[end - 1] + typical
        return cls(time_s, restart, stamped=True)


def believed(ticks: NDArray[np.int64], base: float) -> list[list[int]]:
    """Frames whose timestamps are believed, in runs of one clock each."""
    runs: list[list[int]] = []
    for clock in _clocks(ticks):
        run: list[int] = []
        for frame in clock:
            if run and (int(ticks[frame]) - int(ticks[run[-1]])) * base > MAX_GAP_S:
                runs.append(run)
                run = []
            run.append(frame)
        runs.append(run)
    return runs


def _clocks(ticks: NDArray[np.int64]) -> Iterator[list[int]]:
    """Frames with rising timestamps; another list begins where MANY in a row rise below the last."""
    run: list[int] = []
    below: list[int] = []
    values: list[int] = ticks.tolist()
    for frame, value in enumerate(values):
        if value == MISSING:
            continue
        after = values[frame + 1] if frame + 1 < len(values) else MISSING
        if run and value > values[run[-1]]:
            below = []
            if not values[run[-1]] < after < value:  # else it jumped ahead for this frame alone
                run.append(frame)
        elif not run:
            run.append(frame)
        else:
            below = [*below, frame] if below and value > values[below[-1]] else [frame]
            if len(below) == MANY:
                yield run
                run, below = below, []
    if run:
        yield run


def _mean(ticks: NDArray[np.int64], runs: list[list[int]], base: float) -> float:
    """Mean step over all runs, s a frame."""
    spans = [(int(ticks[run[-1]]) - int(ticks[run[0]])) * base for run in runs]
    return sum(spans) / max(1, sum(run[-1] - run[0] for run in runs))


def _filled(run: list[int], seconds: Array, frames: NDArray[np.int64], step: float) -> Array:
    """Times of all ``frames`` from those of ``run``: between them evenly, outside by ``step``."""
    first, last = run[0], run[-1]
    inside: Array = np.interp(frames, run, seconds)
    return inside + np.minimum(frames - first, 0) * step + np.maximum(frames - last, 0) * step
