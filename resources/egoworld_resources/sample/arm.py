"""The capsules of a right hand and its sleeved forearm."""

import numpy as np

from .geometry import Array, apply, unit
from .hand import OPEN, Skeleton
from .hand_surface import SKIN, SLEEVE, Capsules

FINGER_RADII = np.array(
    [
        [0.0125, 0.0118, 0.0105, 0.0082],
        [0.0112, 0.0094, 0.0083, 0.0066],
        [0.0114, 0.0096, 0.0085, 0.0068],
        [0.0110, 0.0092, 0.0081, 0.0065],
        [0.0100, 0.0083, 0.0073, 0.0060],
    ]
)
BARE_FOREARM = 0.075


def capsules_of(skeleton: Skeleton, angles: Array, t_camera_hand: Array, elbow: Array) -> Capsules:
    """A posed hand and forearm in the camera frame.

    `angles` [5x4]; `t_camera_hand` [4x4]; `elbow` [3], camera frame.
    """
    rows: list[tuple[Array, Array, float, float, int, Array, float, float, float]] = []
    joints = skeleton.joints(angles)
    backs = skeleton.backs(angles)
    up, size = np.array([0.0, 0.0, 1.0]), skeleton.scale

    def add(a: Array, b: Array, ra: float, rb: float, back: Array, nail: float = 0, crease: float = 0, flush: float = 0):
        rows.append((a, b, ra * size, rb * size, SKIN, back, nail, crease, flush))

    for finger in range(5):
        for bone in range(3):
            a, b = joints[1 + 4 * finger + bone], joints[2 + 4 * finger + bone]
            ra, rb = FINGER_RADII[finger, bone : bone + 2]
            last, inner = float(bone == 2), float(bone > 0)
            stop = a + (b - a) * (1.0 if bone < 2 else 1.06)
            add(a, stop, float(ra), float(rb), backs[3 * finger + bone], last, inner, 1.0)
    palm = size * np.array([[0.004, 0.014, 0.0], [0.006, 0.004, 0.0], [0.004, -0.008, 0.0], [0.004, -0.018, -0.002]])
    for k, root in enumerate(palm):
        add(root, joints[5 + 4 * k] - np.array([0, 0, 0.003 * size]), 0.0175, 0.0125, up, flush=0.3)
    add(joints[1], joints[5], 0.0150, 0.0105, up)
    add(palm[0], joints[1], 0.0170, 0.0160, up)
    add(joints[1] * 0.8 + joints[2] * 0.2, joints[5] * 0.75 + joints[2] * 0.25, 0.0135, 0.0085, up)
    add(joints[5], joints[9], 0.0118, 0.0118, up)
    add(joints[9], joints[13], 0.0118, 0.0114, up)
    add(joints[13], joints[17], 0.0112, 0.0104, up)
    posed = [(apply(t_camera_hand, a), apply(t_camera_hand, b), ra, rb, m, t_camera_hand[:3, :3] @ v, *marks)
             for a, b, ra, rb, m, v, *marks in rows]
    return _with_forearm(posed, t_camera_hand, elbow, size)


def _with_forearm(rows: list[tuple[Array, Array, float, float, int, Array, *tuple[float, ...]]], t: Array, elbow: Array,
                  size: float) -> Capsules:
    wrist, side = t[:3, 3], t[:3, 1]
    along = unit(elbow - wrist)
    side = unit(side - along * float(side @ along))
    cuff = wrist + along * BARE_FOREARM
    for sign in (-1.0, 1.0):
        offset = sign * side * size
        rows.append((wrist + 0.0105 * offset, cuff + 0.015 * offset, 0.0178 * size, 0.022 * size, SKIN, t[:3, 2], 0, 0, 0))
        rows.append((cuff - 0.02 * along + 0.015 * offset, elbow + 0.012 * offset, 0.030, 0.047, SLEEVE, t[:3, 2], 0, 0, 0))
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    return Capsules(*columns[:4], columns[4].astype(np.int64), *(c.astype(np.float64) for c in columns[5:]))


def open_hand() -> Array:
    """Joint angles [5x4] of a relaxed, open hand."""
    return OPEN.copy()
