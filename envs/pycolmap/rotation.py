"""A camera that only turns: the rotation of every frame from directions alone, with nothing said about places."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from motion import corners, follow
from numpy.typing import NDArray
from parallax import FAR, FEWEST, Pair, Parallax, homography_inliers
from static_world import View, inside

from egoworld_runner.lenses import Lens

Array = NDArray[np.float64]
Rays = Callable[[Array], Array]
"""Unit directions [n, 3] in camera axes of px [n, 2]."""

FOCALS = np.geomspace(0.35, 3.5, 12)
"""First guesses of the focal length, in long sides."""
GOLDEN = (np.sqrt(5) - 1) / 2
NARROWINGS = 12
SWEEPS = 15
MOST_POINTS = 200
AGREES_PX = 3.0
TRIMS = 5


@dataclass(frozen=True)
class Turn:
    """R_world_camera [3, 3] by decode index of the keyframe; rays: the lens that they hold for; focal: its, px;
    agree: share of the homographies' matches between distant pictures that the rotations explain, 0-1.
    """

    rotations: dict[int, Array]
    rays: Rays
    focal: float
    agree: float


def solve(
    pairs: Sequence[Pair], frames: Sequence[int], seen: Parallax, size: tuple[int, int], lens: Lens | None
) -> Turn | None:
    """Rotations of the keyframes ``frames`` that agree best with all pairs; None when the pairs join no two of them.

    The focal length is that of ``lens``, or the one under which rotations explain the pictures best (Hartley,
    Self-calibration of stationary cameras, 1997).
    """
    kept: list[Pair] = []
    for pair in pairs:
        good = np.flatnonzero(homography_inliers(pair, seen.straighten))
        if len(good) >= FEWEST:
            good = good[:: -(-len(good) // MOST_POINTS)]
            kept.append(Pair(pair.a, pair.b, pair.at_a[good], pair.at_b[good]))
    if not kept:
        return None
    if lens is not None:
        rays, focal = lens.rays, float(np.mean(lens.intrinsics[:2]))
    else:
        focal = max(size) * _best_focal(lambda f: _cost(kept, _pinhole(seen, size, f), f * max(size)))
        rays = _pinhole(seen, size, focal / max(size))
    rotations = _rotations(kept, rays)
    far = [pair for pair in kept if pair.displacement > FAR * max(size)] or kept
    agree = [
        np.linalg.norm(rays(p.at_a) @ rotations[p.a].T - rays(p.at_b) @ rotations[p.b].T, axis=1) * focal < AGREES_PX
        for p in far
        if p.a in rotations and p.b in rotations
    ]
    return Turn({frames[at]: r for at, r in rotations.items()}, rays, focal, float(np.mean(np.concatenate(agree))))


def turned(views: Iterable[View], turn: Turn, max_error_px: float, fewest: int) -> Iterator[tuple[int, Array | None]]:
    """R_world_camera [3, 3] of every frame in order, None where it cannot be trusted.

    A frame between keyframes has the rotation under which the corners that were followed from the keyframe before it
    agree best.
    """
    before: tuple[View, NDArray[np.float32], Array] | None = None
    current = np.zeros((0, 2), np.float32)
    for view in views:
        rotation = turn.rotations.get(view.frame)
        if rotation is not None:
            current = corners(view)
            before = view, current, turn.rays(current.astype(np.float64)) @ rotation.T
        elif before is not None:
            start, origin, directions = before
            current, ok = follow(start.grey, origin, view.grey, current)
            ok &= inside(view.static, current)
            rays = turn.rays(current[ok].astype(np.float64))
            rotation = _trusted(rays, directions[ok], max_error_px / turn.focal, fewest)
        yield view.frame, rotation


def _trusted(rays: Array, directions: Array, limit: float, fewest: int) -> Array | None:
    """The rotation from ``rays`` to ``directions`` [n, 3] that half of them or more agree on."""
    good = np.isfinite(rays).all(axis=1) & np.isfinite(directions).all(axis=1)
    rays, directions = rays[good], directions[good]
    if len(rays) < fewest:
        return None
    kept = np.ones(len(rays), np.bool_)
    rotation = np.eye(3)
    for _ in range(TRIMS):
        rotation = nearest_rotation(directions[kept].T @ rays[kept])
        errors = np.linalg.norm(rays @ rotation.T - directions, axis=1)
        kept = errors <= max(limit, float(np.median(errors)))
    agree = int((errors <= limit).sum())
    return rotation if agree >= max(fewest, len(rays) / 2) else None


def nearest_rotation(matrix: Array) -> Array:
    """The rotation [3, 3] with the largest trace of its transpose times ``matrix`` (Kabsch 1976)."""
    u, _, vt = np.linalg.svd(matrix)
    return u @ np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))]) @ vt


def _pinhole(seen: Parallax, size: tuple[int, int], focal: float) -> Rays:
    """Directions under a focal length in long sides, the distortion taken out as far as the test found it."""
    centre = (np.array(size) - 1) / 2

    def rays(pixels: Array) -> Array:
        off = seen.straighten(pixels) - centre
        whole = np.concatenate([off, np.full((len(off), 1), focal * max(size))], axis=1)
        return whole / np.linalg.norm(whole, axis=1, keepdims=True)

    return rays


def _best_focal(cost: Callable[[float], float]) -> float:
    """The least of ``cost`` by golden section around the best of FOCALS."""
    costs = [cost(float(focal)) for focal in FOCALS]
    at = int(np.argmin(costs))
    low, high = np.log(FOCALS[max(0, at - 1)]), np.log(FOCALS[min(len(FOCALS) - 1, at + 1)])
    for _ in range(NARROWINGS):
        left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
        if cost(float(np.exp(left))) < cost(float(np.exp(right))):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))


def _cost(pairs: Sequence[Pair], rays: Rays, focal_px: float) -> float:
    """Mean squared distance of matched directions after the best rotations, px^2."""
    rotations = _rotations(pairs, rays)
    gaps = [
        rays(p.at_a) @ rotations[p.a].T - rays(p.at_b) @ rotations[p.b].T
        for p in pairs
        if p.a in rotations and p.b in rotations
    ]
    return float(np.mean(np.sum(np.concatenate(gaps) ** 2, axis=1))) * focal_px**2


def _rotations(pairs: Sequence[Pair], rays: Rays) -> dict[int, Array]:
    """R_world_camera by place of the keyframes that pairs join to the first pair's; that of the earliest is I.

    Each is set to what suits its neighbours best, over and over: then the sum over all pairs is least.
    """
    joined: dict[int, dict[int, Array]] = defaultdict(dict)
    for pair in pairs:
        product = rays(pair.at_b).T @ rays(pair.at_a)
        joined[pair.a][pair.b], joined[pair.b][pair.a] = product, product.T
    first = min(joined)
    rotations, waiting = {first: np.eye(3)}, [first]
    while waiting:
        here = waiting.pop(0)
        for there in sorted(joined[here], key=lambda at: -np.trace(joined[here][at])):
            if there not in rotations:
                rotations[there] = nearest_rotation(rotations[here] @ joined[there][here])
                waiting.append(there)
    for _ in range(SWEEPS):
        for here in sorted(rotations):
            if here != first:
                near = joined[here].items()
                rotations[here] = nearest_rotation(sum((rotations[at] @ k for at, k in near), np.zeros((3, 3))))
    return rotations
