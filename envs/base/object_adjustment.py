"""Bundle adjustment of one rigid object: its points, its pose where it moves, its place where it rests.

Where the object rests, all frames share one place in the world, and the camera's trajectory gives the rest: such
frames measure the points as well as the camera knows where it was, and keep the chain of frames between from drifting.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from object_points import Array, Flags
from scipy.sparse import coo_matrix, csr_matrix, diags
from scipy.sparse.linalg import spsolve

ITERATIONS = 12
SETTLED = 1e-4
DAMPING = 1e-3


@dataclass(frozen=True)
class Chain:
    """Frames [n] to adjust: ``outer`` [n, 4, 4] known, ``place`` [n] the index of the unknown pose right of it.

    The object's pose in the camera is ``outer @ places[place]``: outer is the camera's pose at rest and the identity
    while the object moves. Place 0 is held fixed.
    """

    outer: Array
    place: NDArray[np.int64]
    places: Array

    @property
    def poses(self) -> Array:
        return self.outer @ self.places[self.place]


def adjust(chain: Chain, points: Array, seen: Array, limit: float) -> tuple[Chain, Array]:
    """Places and points that minimise the robust reprojection error (Geman and McClure; Levenberg-Marquardt).

    points [m, 3]; seen [m, n, 2] normalised, NaN where not seen; limit: error at which an observation counts a quarter.
    """
    which, where = np.nonzero(np.isfinite(seen).all(axis=-1))
    xy = seen[which, where]
    damping, cost = DAMPING, _cost(chain, points, which, where, xy, limit)
    for _ in range(ITERATIONS):
        jacobian, error, weight = _linear(chain, points, which, where, xy, limit)
        normal = jacobian.T @ (jacobian.multiply(weight[:, None]))
        step = spsolve((normal + diags(damping * normal.diagonal() + 1e-12)).tocsc(), jacobian.T @ (weight * error))
        moved = _moved(chain, points, np.asarray(step))
        new = _cost(*moved, which, where, xy, limit)
        if not new < cost:
            damping *= 10.0
            continue
        settled = cost - new < SETTLED * cost
        (chain, points), cost, damping = moved, new, damping / 5.0
        if settled:
            break
    return chain, points


def _linear(
    chain: Chain, points: Array, which: NDArray[np.int64], where: NDArray[np.int64], xy: Array, limit: float
) -> tuple[csr_matrix, Array, Array]:
    """Jacobian [2k, 6 places + 3 points], errors [2k] and weights [2k] of k observations."""
    inner = np.einsum("kij,kj->ki", chain.places[chain.place[where], :3, :3], points[which])
    placed = inner + chain.places[chain.place[where], :3, 3]
    outer = chain.outer[where]
    local = np.einsum("kij,kj->ki", outer[:, :3, :3], placed) + outer[:, :3, 3]
    image = local[:, :2] / local[:, 2:]
    error = xy - image
    weight = 1.0 / (1.0 + (error**2).sum(axis=1) / limit**2) ** 2
    by_place = (outer[:, :2, :3] - image[..., None] * outer[:, 2:3, :3]) / local[:, 2][:, None, None]
    by_turn = -np.einsum("kij,kjl->kil", by_place, _cross(inner))
    by_point = np.einsum("kij,kjl->kil", by_place, chain.places[chain.place[where], :3, :3])
    free = (chain.place[where] > 0)[:, None, None]
    blocks = np.concatenate([by_turn * free, by_place * free, by_point], axis=2)
    first_point = 6 * len(chain.places)
    columns = np.concatenate(
        [6 * chain.place[where][:, None] + np.arange(6), first_point + 3 * which[:, None] + np.arange(3)], axis=1
    )
    rows = np.repeat(np.arange(2 * len(which)).reshape(-1, 2, 1), 9, axis=2)
    columns = np.repeat(columns[:, None, :], 2, axis=1)
    shape = (2 * len(which), first_point + 3 * len(points))
    jacobian = coo_matrix((blocks.ravel(), (rows.ravel(), columns.ravel())), shape).tocsr()
    return jacobian, error.reshape(-1), np.repeat(weight, 2)


def _cost(
    chain: Chain, points: Array, which: NDArray[np.int64], where: NDArray[np.int64], xy: Array, limit: float
) -> float:
    poses = chain.poses[where]
    local = np.einsum("kij,kj->ki", poses[:, :3, :3], points[which]) + poses[:, :3, 3]
    front: Flags = local[:, 2] > 1e-6
    squares = ((local[:, :2] / np.where(front, local[:, 2], 1.0)[:, None] - xy) ** 2).sum(axis=1) / limit**2
    return float(np.where(front, squares / (1.0 + squares), 1.0).sum())


def _moved(chain: Chain, points: Array, step: Array) -> tuple[Chain, Array]:
    places = chain.places.copy()
    count = len(places)
    for place, (turn, shift) in zip(places[1:], step[6 : 6 * count].reshape(-1, 2, 3), strict=True):
        place[:3, :3] = cv2.Rodrigues(turn)[0] @ place[:3, :3]
        place[:3, 3] += shift
    return Chain(chain.outer, chain.place, places), points + step[6 * count :].reshape(-1, 3)


def _cross(vectors: Array) -> Array:
    """The matrices [k, 3, 3] of the cross products with vectors [k, 3]."""
    out = np.zeros((len(vectors), 3, 3))
    x, y, z = vectors.T
    out[:, 0, 1], out[:, 0, 2], out[:, 1, 2] = -z, y, -x
    out[:, 1, 0], out[:, 2, 0], out[:, 2, 1] = z, -y, x
    return out
