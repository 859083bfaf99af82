"""Boxes of hands, which every model of the stage detections reports beside what it finds itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from egoworld_runner import tables
from egoworld_runner.pixels import to_corner

PAD = 0.14
"""Palms by which a box is wider than the joints, which lie inside the flesh."""

WRIST, INDEX, MIDDLE, LITTLE = 0, 5, 9, 17
"""MediaPipe's numbers of the wrist and of three knuckles."""


def palm_length(joints: NDArray[np.float32]) -> float:
    """Length of the palm, px, at least 1: wrist to middle knuckle, or what its breadth tells when it is seen end-on.

    joints: [21, 2] px.
    """
    length = float(np.linalg.norm(joints[MIDDLE] - joints[WRIST]))
    breadth = float(np.linalg.norm(joints[LITTLE] - joints[INDEX]))
    return max(length, 1.3 * breadth, 1.0)


def hand_boxes(hand_poses: Iterable[Mapping[str, Any]], width: int, height: int) -> Iterator[tables.Detection]:
    """The rows "left hand" and "right hand" of hand_poses' rows, cut to the picture; a hand outside it has none."""
    for row in hand_poses:
        joints = np.asarray(row["keypoints_2d"], np.float32).reshape(21, 2)
        edges, grow = to_corner(joints), PAD * palm_length(joints)
        (x0, y0), (x1, y1) = (edges.min(axis=0) - grow).tolist(), (edges.max(axis=0) + grow).tolist()
        x0, x1 = (min(max(x, 0.0), float(width)) for x in (x0, x1))
        y0, y1 = (min(max(y, 0.0), float(height)) for y in (y0, y1))
        if x0 < x1 and y0 < y1:
            label = f"{row['side']} hand"
            yield tables.Detection(int(row["frame"]), label, round(float(row["score"]), 4), x0, y0, x1, y1)
