"""Tapered capsules: the flesh about one bone.

The distance to a tapered capsule is a standard construction of signed distance fields (Quilez).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from egoworld_resources.sample.geometry import Array

SKIN, SLEEVE = 0, 1


@dataclass(frozen=True)
class Capsule:
    """A tapered capsule: ends `a`, `b` [3] and their radii `ra`, `rb`, metres.

    `back`: the direction [3] in which a nail or a crease may be; `material`: SKIN or SLEEVE; `nail`, `crease`,
    `flush`: how much of each it bears, 0..1.
    """

    a: Array
    b: Array
    ra: float
    rb: float
    back: Array
    material: int = SKIN
    nail: float = 0.0
    crease: float = 0.0
    flush: float = 0.0

    @property
    def axis(self) -> Array:
        """From end `a` to end `b` [3], metres."""
        return self.b - self.a

    @property
    def length(self) -> float:
        """Distance between the ends, metres."""
        return float(np.linalg.norm(self.axis))

    def offset(self, points: Array) -> tuple[Array, Array, Array]:
        """For points [n, 3]: away from the axis [n, 3], distance to the surface [n], place along the axis 0..1 [n]."""
        from_a = points - self.a
        h = np.clip(from_a @ self.axis / float(self.axis @ self.axis), 0.0, 1.0)
        away = from_a - h[:, None] * self.axis
        return away, np.linalg.norm(away, axis=1) - (self.ra + h * (self.rb - self.ra)), h


def before_camera(capsules: Sequence[Capsule], near: float = 0.09) -> list[Capsule]:
    """Camera-frame capsules cut `near` metres before the camera; those wholly behind that are left out."""
    out: list[Capsule] = []
    for c in capsules:
        if max(c.a[2], c.b[2]) <= near:
            continue
        u = (near - c.a[2]) / (c.b[2] - c.a[2]) if min(c.a[2], c.b[2]) < near else 0.0
        cut, radius = c.a + u * c.axis, float(c.ra + u * (c.rb - c.ra))
        if c.a[2] < near:
            out.append(replace(c, a=cut, ra=radius))
        elif c.b[2] < near:
            out.append(replace(c, b=cut, rb=radius))
        else:
            out.append(c)
    return out
