"""What a camera's path must be like to be that of a person."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

MIN_STEPS = 8
MOST_TREMBLE = 0.8
"""Positions that are noise around a fixed place give 1.2 and more, a moving head about 0.2."""


def tremble(positions: NDArray[Any]) -> float:
    """By how many times itself a camera's speed changes from frame to frame, in the median; positions [n, 3].

    0 for a path of fewer than MIN_STEPS steps and for one that does not move.
    """
    steps = np.diff(positions, axis=0)
    speeds = np.linalg.norm(steps, axis=1)
    if len(steps) < MIN_STEPS or not np.median(speeds) > 0:
        return 0.0
    return float(np.median(np.linalg.norm(np.diff(steps, axis=0), axis=1)) / np.median(speeds))
