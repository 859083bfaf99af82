"""The capsules of a right hand and its sleeved forearm."""

from dataclasses import replace

import numpy as np

from egoworld_resources.sample.capsules import SLEEVE, Capsule
from egoworld_resources.sample.geometry import Array, apply, unit
from egoworld_resources.sample.hand import Skeleton

FINGER_RADII = (
    (0.0125, 0.0118, 0.0105, 0.0082),
    (0.0112, 0.0094, 0.0083, 0.0066),
    (0.0114, 0.0096, 0.0085, 0.0068),
    (0.0110, 0.0092, 0.0081, 0.0065),
    (0.0100, 0.0083, 0.0073, 0.0060),
)
PALM_ROOTS = np.array([[0.004, 0.018, 0.0], [0.006, 0.008, 0.0], [0.004, -0.004, 0.0], [0.004, -0.013, -0.002]])
BARE_FOREARM = 0.075
PAD = 1.06


def arm_capsules(skeleton: Skeleton, angles: Array, t_camera_hand: Array, elbow: Array) -> list[Capsule]:
    """A posed hand and forearm in the camera frame.

    `angles` [5x4] radians; `t_camera_hand` [4x4]; `elbow` [3] metres, camera frame.
    """
    size = skeleton.scale
    hand = [*_fingers(skeleton, angles), *_palm(skeleton.joints(angles), size)]
    posed = [
        replace(
            capsule,
            a=apply(t_camera_hand, capsule.a),
            b=apply(t_camera_hand, capsule.b),
            ra=capsule.ra * size,
            rb=capsule.rb * size,
            back=t_camera_hand[:3, :3] @ capsule.back,
        )
        for capsule in hand
    ]
    return posed + _forearm(t_camera_hand, elbow, size)


def _fingers(skeleton: Skeleton, angles: Array) -> list[Capsule]:
    joints, backs = skeleton.joints(angles), skeleton.backs(angles)
    out: list[Capsule] = []
    for finger, radii in enumerate(FINGER_RADII):
        for bone in range(3):
            a, b = joints[1 + 4 * finger + bone], joints[2 + 4 * finger + bone]
            nail, crease = float(bone == 2), float(bone > 0)
            end = a + (b - a) * (PAD if bone == 2 else 1.0)
            back = backs[3 * finger + bone]
            out.append(Capsule(a, end, radii[bone], radii[bone + 1], back, nail=nail, crease=crease, flush=1.0))
    return out


def _palm(joints: Array, size: float) -> list[Capsule]:
    up = np.array([0.0, 0.0, 1.0])
    roots = size * PALM_ROOTS
    base, thumb, index, middle, ring, little = joints[[1, 2, 5, 9, 13, 17]]
    sunk = -0.003 * size * up
    rays = [
        Capsule(root, knuckle + sunk, 0.0175, 0.0125, up, flush=0.3)
        for root, knuckle in zip(roots, (index, middle, ring, little), strict=True)
    ]
    return [
        *rays,
        Capsule(base, index, 0.0150, 0.0105, up),
        Capsule(roots[0], base, 0.0170, 0.0160, up),
        Capsule(0.8 * base + 0.2 * thumb, 0.75 * index + 0.25 * thumb, 0.0135, 0.0085, up),
        Capsule(index, middle, 0.0118, 0.0118, up),
        Capsule(middle, ring, 0.0118, 0.0114, up),
        Capsule(ring, little, 0.0112, 0.0104, up),
    ]


def _forearm(t_camera_hand: Array, elbow: Array, size: float) -> list[Capsule]:
    """Two capsules side by side for the flat wrist, two for the sleeve."""
    side, up = t_camera_hand[:3, 1], t_camera_hand[:3, 2]
    wrist = t_camera_hand[:3, 3] + 0.004 * size * side
    along = unit(elbow - wrist)
    side = unit(side - along * float(side @ along))
    cuff = wrist + along * BARE_FOREARM
    out: list[Capsule] = []
    for offset in (-size * side, size * side):
        out.append(Capsule(wrist + 0.0105 * offset, cuff + 0.015 * offset, 0.0178 * size, 0.022 * size, up))
        start = cuff - 0.02 * along + 0.015 * offset
        out.append(Capsule(start, elbow + 0.012 * offset, 0.029, 0.042, up, material=SLEEVE))
    return out
