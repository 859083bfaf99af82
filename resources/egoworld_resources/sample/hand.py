"""The skeleton of a right hand: 21 joints from joint angles, and the angles that put the fingertips where they grip.

Hand frame: metres, origin at the wrist, x toward the fingers, y toward the thumb, z out of the back of the hand.
Joint order is MediaPipe's: wrist, then thumb, index, middle, ring, little finger from the palm to the tip.
Angles [5x4], radians, a row a finger. Fingers: spread, then the flexion of three joints; thumb: flexion and palmar
abduction at its base, then the flexion of two joints.
"""

from dataclasses import dataclass

import numpy as np

from egoworld_resources.sample.geometry import Array, rotation, unit

KNUCKLES = np.array(
    [
        [0.020, 0.032, -0.010],
        [0.093, 0.026, 0.0],
        [0.096, 0.003, 0.003],
        [0.090, -0.018, 0.001],
        [0.082, -0.036, -0.004],
    ]
)
BONES = np.array(
    [[0.042, 0.034, 0.029], [0.044, 0.025, 0.020], [0.047, 0.029, 0.021], [0.044, 0.027, 0.021], [0.036, 0.020, 0.019]]
)
FAN = np.radians([0.0, 5.0, 0.0, -5.0, -11.0])
THUMB_ALONG = unit(np.array([0.72, 0.62, -0.28]))
THUMB_FLEX = unit(np.cross(THUMB_ALONG, np.array([0.3, -0.8, -0.35])))
THUMB_ABDUCT = unit(np.cross(THUMB_ALONG, np.array([0.0, 0.0, -1.0])))
FLEX = np.array([0.0, 1.0, 0.0])
SPREAD = np.array([0.0, 0.0, 1.0])

OPEN = np.radians([[0, 0, 8, 8], [0, 14, 20, 12], [0, 16, 22, 13], [0, 18, 24, 14], [0, 20, 24, 14]], dtype=np.float64)
LIMITS_LOW = np.radians([[-25, -20, -10, -10]] + [[-14, -25, 0, 0]] * 4, dtype=np.float64)
LIMITS_HIGH = np.radians([[40, 50, 55, 70]] + [[14, 85, 100, 70]] * 4, dtype=np.float64)


@dataclass(frozen=True)
class Skeleton:
    """A hand of one size; `scale` 1 is 0.185 m from the wrist to the middle fingertip."""

    scale: float = 1.0

    def finger(self, finger: int, angles: Array) -> tuple[Array, Array]:
        """Joints [4x3] of one finger from its angles [4], and the back-of-finger direction of its bones [3x3]."""
        if finger == 0:
            turn = rotation(THUMB_FLEX, angles[0]) @ rotation(THUMB_ABDUCT, angles[1])
            along, flex = THUMB_ALONG, THUMB_FLEX
            bends = (0.0, angles[2], angles[3])
        else:
            turn = rotation(SPREAD, FAN[finger] + angles[0])
            along, flex = np.array([1.0, 0.0, 0.0]), FLEX
            bends = (angles[1], angles[2], angles[3])
        joints, backs = [KNUCKLES[finger]], list[Array]()
        for bend, bone in zip(bends, BONES[finger], strict=True):
            turn = turn @ rotation(flex, bend)
            joints.append(joints[-1] + bone * (turn @ along))
            backs.append(turn @ np.cross(along, flex))
        return np.array(joints) * self.scale, np.array(backs)

    def joints(self, angles: Array) -> Array:
        """All 21 joints [21x3] in the hand frame."""
        return np.concatenate([np.zeros((1, 3)), *(self.finger(f, angles[f])[0] for f in range(5))])

    def backs(self, angles: Array) -> Array:
        """The back-of-finger direction [15x3] of each finger bone, thumb first, from the palm to the tip."""
        return np.concatenate([self.finger(f, angles[f])[1] for f in range(5)])

    def reach(self, tips: Array) -> Array:
        """Angles [5x4], within the joints' limits, that bring the fingertips to `tips` [5x3] of the hand frame.

        Damped Gauss-Newton; a weak pull toward the open hand settles what the tip alone leaves free.
        """
        return np.stack([self._reach_one(f, tips[f]) for f in range(5)])

    def _reach_one(self, finger: int, tip: Array) -> Array:
        rest, angles = OPEN[finger] * 1.6, OPEN[finger] * 1.6

        def residual(q: Array) -> Array:
            return np.concatenate(
                [self.finger(finger, q)[0][3] - tip, 0.0015 * (q - rest), [0.006 * (q[3] - 0.6 * q[2])]]
            )

        for _ in range(60):
            now = residual(angles)
            steps = np.eye(4) * 1e-5
            jacobian = np.stack([(residual(angles + step) - now) / 1e-5 for step in steps], axis=1)
            change = np.linalg.solve(jacobian.T @ jacobian + 1e-7 * np.eye(4), -jacobian.T @ now)
            angles = np.clip(angles + np.clip(change, -0.3, 0.3), LIMITS_LOW[finger], LIMITS_HIGH[finger])
        return angles
