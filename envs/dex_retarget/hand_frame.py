"""Human hand joints in a frame fixed to the wrist, as robot hands are modelled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

WRIST, INDEX_KNUCKLE, MIDDLE_KNUCKLE = 0, 5, 9

MIRROR = np.array([1.0, -1.0, 1.0])
"""Turns joints of one hand in its wrist frame into those of the other hand in its own."""


def wrist_aligned(keypoints_3d: NDArray[np.float64], side: str) -> NDArray[np.float64] | None:
    """Joints [21x3] m in the wrist frame: z towards the middle knuckle, x out of the palm, y = z x x, origin the wrist.

    The palm's plane goes through wrist, index knuckle and middle knuckle. This is the frame that dex-retargeting calls
    MANO's: in one step what its example detector does with a fitted frame and OPERATOR2MANO_RIGHT or _LEFT. None when
    the three joints lie on a line.
    Source: Qin et al., "AnyTeleop", RSS 2023, arXiv:2307.04577; dex_retargeting/constants.py.
    """
    points = keypoints_3d - keypoints_3d[WRIST]
    along = points[MIDDLE_KNUCKLE]
    length = np.linalg.norm(along)
    if length < 1e-6:
        return None
    z = along / length
    across = points[INDEX_KNUCKLE] - along
    across = across - (across @ z) * z
    width = np.linalg.norm(across)
    if width < 1e-6:
        return None
    towards_index = across / width
    y = towards_index if side == "right" else -towards_index
    return points @ np.stack([np.cross(y, z), y, z], axis=1)
