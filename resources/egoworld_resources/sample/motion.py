"""How the camera, the hand and the object move in one shot, by the fraction of the shot that has passed.

A shot is one or more reaches. In each the object is still at first, the hand comes in, grips it from above, carries
it to another place, sets it down, lets go and leaves.
"""

from dataclasses import dataclass

import numpy as np

from egoworld_resources.sample.boxes import TABLE_TOP
from egoworld_resources.sample.geometry import Array, apply, blend_poses, ease, inverse, look_at, pose, rotation, yaw
from egoworld_resources.sample.hand import OPEN, Skeleton

ENTER, CLOSE, LIFT, PLACE, OPENED, AWAY = 0.06, 0.21, 0.26, 0.70, 0.76, 0.96
X, Y, Z = np.eye(3)
NECK = np.array([0.0, -0.09, -0.12])
"""Where a head turns about, from a camera at its forehead, m."""


@dataclass(frozen=True)
class Moment:
    """Everything that moves, at one time: poses [4x4] in the world, the end of the sleeve [3], joint angles [5x4]."""

    t_world_camera: Array
    t_world_object: Array
    t_world_hand: Array
    elbow: Array
    angles: Array


@dataclass(frozen=True)
class Grip:
    """Where the hand holds the object: T_object_hand [4x4] and the joint angles [5x4] of the closed hand."""

    t_object_hand: Array
    angles: Array


def grip_of(size: Array, skeleton: Skeleton, turn: float, pitch: float) -> Grip:
    """A grip from above over the right part of a box of `size` [3]: thumb on its near face, fingers over its far face.

    `turn`: of the hand about the vertical, to the left; `pitch`: of its fingers below the level. Radians.
    """
    width, depth, height = size
    level = np.stack([Y, -X, Z], axis=1)
    rot = yaw(turn) @ level @ rotation(Y, pitch)
    hold = np.array([0.25 * width, 0.0, height / 2])
    palm = np.array([hold[0] + 0.012, -depth / 2 + 0.012, hold[2] + 0.034])
    wrist = palm - rot @ (np.array([0.092, 0.0, 0.0]) * skeleton.scale)
    across = np.array([-0.036, -0.022, 0.0, 0.021, 0.038])
    far = [[hold[0] + dx, depth / 2 + 0.0075, height / 2 - 0.020] for dx in across[1:]]
    tips = np.array([[hold[0] + across[0], -depth / 2 - 0.009, height / 2 - 0.026], *far])
    t_object_hand = pose(rot, wrist)
    return Grip(t_object_hand, skeleton.reach(apply(inverse(t_object_hand), tips)))


class Choreography:
    """The motions of one shot of `seconds`; the generator decides paths, places and sizes. `head`: as the options."""

    def __init__(self, rng: np.random.Generator, shot: int, seconds: float, head: str = "sway") -> None:
        self.seconds, self.head = seconds, head
        self.reaches = max(1, round(seconds / 6.0))
        self.skeleton = Skeleton(float(rng.uniform(0.97, 1.06)))
        self.object_size = np.array([rng.uniform(0.15, 0.17), rng.uniform(0.048, 0.058), rng.uniform(0.085, 0.105)])
        self.grip = grip_of(
            self.object_size, self.skeleton, float(rng.uniform(0.25, 0.4)), float(rng.uniform(0.08, 0.16))
        )
        self.places = self._places(rng, shot)
        self.lift = float(rng.uniform(0.07, 0.10))
        self.eye = np.array([0.0, rng.uniform(-0.38, -0.33), TABLE_TOP + rng.uniform(0.49, 0.54)])
        self.sway = float(rng.uniform(0.24, 0.29))
        self.phases = rng.uniform(0, 2 * np.pi, 6)

    def _places(self, rng: np.random.Generator, shot: int) -> list[Array]:
        out: list[Array] = []
        for k in range(self.reaches + 1):
            side = 1.0 if (k + shot) % 2 == 0 else -1.0
            at = np.array(
                [side * rng.uniform(0.10, 0.15), rng.uniform(-0.10, 0.02), TABLE_TOP + self.object_size[2] / 2]
            )
            turn = side * rng.uniform(-0.28, -0.05)
            out.append(pose(yaw(float(turn)), at))
        return out

    def at(self, fraction: float) -> Moment:
        """The moment at a fraction 0..1 of the shot."""
        reach = min(int(fraction * self.reaches), self.reaches - 1)
        u = fraction * self.reaches - reach
        here, there = self.places[reach], self.places[reach + 1]
        t_world_object = self._object(here, there, u)
        t_world_camera = self._camera(fraction, t_world_object[:3, 3])
        t_world_hand, closed = self._hand(here, there, t_world_object, t_world_camera, u)
        # The arm is straight and runs on beside the camera, so that its end never comes into view.
        shoulder = t_world_camera[:3, 3] + np.array([0.27, -0.32, -0.34])
        elbow = shoulder + 0.12 * (t_world_hand[:3, 3] - shoulder) + np.array([0.05, -0.03, -0.02])
        angles = (1.0 - closed) * OPEN + closed * self.grip.angles
        return Moment(t_world_camera, t_world_object, t_world_hand, elbow, angles)

    def _object(self, here: Array, there: Array, u: float) -> Array:
        carried = ease((u - LIFT) / (PLACE - LIFT))
        out = blend_poses(here, there, carried)
        out[2, 3] += self.lift * np.sin(np.pi * carried) ** 1.5
        return out

    def _hand(
        self, here: Array, there: Array, t_world_object: Array, t_world_camera: Array, u: float
    ) -> tuple[Array, float]:
        """The hand's pose and how far it is closed, 0..1."""
        if CLOSE <= u < OPENED:
            closed = ease((u - CLOSE) / (LIFT - CLOSE)) if u < LIFT else 1.0 - ease((u - PLACE) / (OPENED - PLACE))
            hold = t_world_object @ self.grip.t_object_hand
            hold[2, 3] += 0.028 * (1.0 - closed)
            return hold, closed
        away = 1.0 - ease((u - ENTER) / (CLOSE - ENTER)) if u < CLOSE else ease((u - OPENED) / (AWAY - OPENED))
        hold = (here if u < CLOSE else there) @ self.grip.t_object_hand
        hold[2, 3] += 0.028
        rest = pose(yaw(0.5) @ hold[:3, :3], t_world_camera[:3, 3] + np.array([0.36, -0.16, -0.42]))
        out = blend_poses(hold, rest, away)
        out[2, 3] += 0.05 * np.sin(np.pi * min(1.0, 1.6 * away)) if away < 1 / 1.6 else 0.0
        return out, 0.0

    def _camera(self, fraction: float, object_at: Array) -> Array:
        second, p = fraction * self.seconds, self.phases
        if self.head != "sway":
            return self._turned(second)
        turn = np.pi * self.reaches * fraction + 0.6
        drift = np.array([self.sway * np.cos(turn), 0.05 * np.sin(turn), 0.03 * np.sin(turn + 0.6)])
        bob = np.array([
            0.012 * np.sin(2 * np.pi * 0.55 * second + p[0]),
            0.014 * np.sin(2 * np.pi * 0.40 * second + p[1]),
            0.010 * np.sin(2 * np.pi * 0.80 * second + p[2]),
        ])  # fmt: skip
        rest = np.array([0.03, 0.02, TABLE_TOP + 0.05])
        target = rest + 0.5 * (object_at - rest) * np.array([1.0, 1.0, 0.3])
        target = target + 0.010 * np.array(
            [np.sin(2 * np.pi * 0.7 * second + p[3]), np.sin(2 * np.pi * 0.5 * second + p[4]), 0]
        )
        return look_at(self.eye + drift + bob, target, 0.03 * float(np.sin(2 * np.pi * 0.3 * second + p[5])))

    def _turned(self, second: float) -> Array:
        """A head that looks to both sides and up and down about its neck, or about the camera's own centre."""
        rest = look_at(self.eye, np.array([0.0, 0.35, TABLE_TOP + 0.1]))
        pivot = self.eye + (NECK if self.head == "turn" else 0.0 * NECK)
        side = 0.6 * float(np.sin(2 * np.pi * 0.2 * second + self.phases[0]))
        nod = 0.12 * float(np.sin(2 * np.pi * 0.31 * second + self.phases[1]))
        turn = yaw(side) @ rotation(X, nod)
        return pose(turn @ rest[:3, :3], pivot + turn @ (self.eye - pivot))
