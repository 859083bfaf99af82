"""Pixel coordinates of the contract: the centre of the top left pixel lies at (0, 0), as in OpenCV.

Points (keypoints, tracks, principal points) are such coordinates. The edges of a box count pixels instead: x0 is the
first column and x1 the first one behind it, so a box of the whole picture is (0, 0, width, height). That is the frame
in which the picture's corner lies at (0, 0), which COLMAP and Rerun use for points too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

HALF = 0.5
Array = NDArray[Any]


def from_corner(xy: Array) -> Array:
    """Points [..., 2] px counted from the picture's corner, in the contract's coordinates."""
    return xy - HALF


def to_corner(xy: Array) -> Array:
    """Points [..., 2] px of the contract, counted from the picture's corner."""
    return xy + HALF


def resized(xy: Array, scale: float | Array) -> Array:
    """Points [..., 2] px of the contract in the picture brought to ``scale`` (one number, or x and y) of its size."""
    return from_corner(to_corner(xy) * np.asarray(scale, xy.dtype))
