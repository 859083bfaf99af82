"""Whether keyframes show parallax: without it a translation and a focal length would be inventions.

Where a camera only turns, or sees one plane alone, a homography takes one picture to the other. So the share of
matches that agree with a homography, of those that agree with any epipolar geometry, tells: 0.96 to 0.98 for cameras
that only turn, 0.4 to 0.8 for those that move among things (Torr, Fitzgibbon and Zisserman, The problem of
degeneracy in structure and motion recovery, 1999).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pycolmap
from numpy.typing import NDArray
from sfm import SEED, Keyframe

from egoworld_runner.lenses import Lens
from egoworld_runner.pixels import from_corner

Array = NDArray[np.float64]
Straighten = Callable[[Array], Array]

BENDS = (0.0, -0.05, -0.1, -0.2, -0.3)
"""Lenses that are tried when none is known: r / (1 + bend r^2) of half the long side (Fitzgibbon 2001)."""
FEWEST = 30
FAR = 0.04
MOST_PAIRS = 24
MAX_ERROR_PX = 2.0
ALIKE = 0.02
"""Shares that differ by less are the same."""


@dataclass(frozen=True)
class Pair:
    """Matched points of two keyframes, by their places in the list: px [m, 2] each, as the pictures show them."""

    a: int
    b: int
    at_a: Array
    at_b: Array

    @property
    def displacement(self) -> float:
        """How far the median point is from where it was, px."""
        return float(np.median(np.linalg.norm(self.at_b - self.at_a, axis=1))) if len(self.at_a) else 0.0


@dataclass(frozen=True)
class Parallax:
    """homography: the share of epipolar inliers that one homography explains as well, 0-1; straighten: the lens's
    distortion taken out of px [n, 2], as far as it is known or was found by the test; bend: see BENDS; error: how far
    from it these inliers lie, px (root mean square).
    """

    homography: float
    straighten: Straighten
    bend: float
    error: float


def pairs_in(keyframes: Sequence[Keyframe], matches: Mapping[tuple[int, int], NDArray[np.uint32]]) -> list[Pair]:
    """The pairs with FEWEST matches or more."""
    points = [from_corner(keyframe.keypoints[:, :2].astype(np.float64)) for keyframe in keyframes]
    return [Pair(a, b, points[a][m[:, 0]], points[b][m[:, 1]]) for (a, b), m in matches.items() if len(m) >= FEWEST]


def measure(pairs: Sequence[Pair], size: tuple[int, int], lens: Lens | None) -> Parallax | None:
    """Over the pairs that lie far apart; None when no pair matches. size: px; lens: as the pictures have it.

    Of bends under which about the same share agrees, which two neighbours often are, it is the one of the least error:
    a bend that is wrong by 0.05 costs rotations two degrees.
    """
    far = [pair for pair in pairs if pair.displacement > FAR * max(size)]
    far = far or sorted(pairs, key=lambda pair: -pair.displacement)[:MOST_PAIRS]
    chosen = far[:: -(-len(far) // MOST_PAIRS)] if far else []
    if lens is not None:
        return _share(chosen, straighten_of(size, lens, 0.0), 0.0)
    tried = [_share(chosen, straighten_of(size, None, bend), bend) for bend in BENDS]
    found = [one for one in tried if one is not None]
    best = max((one.homography for one in found), default=0.0)
    return min((one for one in found if one.homography > best - ALIKE), key=lambda one: one.error, default=None)


def straighten_of(size: tuple[int, int], lens: Lens | None, bend: float) -> Straighten:
    """What takes the distortion of a lens, or of a bend, out of px [n, 2]: then a pinhole sees the same."""
    if lens is not None:
        return lambda pixels: lens.normalised(pixels) * lens.intrinsics[:2] + lens.intrinsics[2:]
    half, centre = max(size) / 2, (np.array(size) - 1) / 2

    def straight(pixels: Array) -> Array:
        off = (pixels - centre) / half
        return off * half / (1 + bend * (off**2).sum(axis=-1, keepdims=True)) + centre

    return straight


def _share(pairs: Sequence[Pair], straighten: Straighten, bend: float) -> Parallax | None:
    flat, all_of_them, squares = 0, 0, 0.0
    for pair in pairs:
        epipolar, _ = _estimated(pycolmap.estimate_fundamental_matrix, pair, straighten)
        if epipolar.sum() >= FEWEST:
            homography, matrix = _estimated(pycolmap.estimate_homography_matrix, pair, straighten)
            both = homography & epipolar
            all_of_them += int(epipolar.sum())
            flat += int(both.sum())
            squares += _squares(matrix, straighten(pair.at_a[both]), straighten(pair.at_b[both]))
    error = float(np.sqrt(squares / max(flat, 1)))
    return Parallax(flat / all_of_them, straighten, bend, error) if all_of_them else None


def _squares(homography: Array | None, a: Array, b: Array) -> float:
    """The sum of the squared distances of px b [n, 2] from where a homography has px a."""
    if homography is None:
        return 0.0
    mapped = np.concatenate([a, np.ones((len(a), 1))], axis=1) @ homography.T
    return float(((mapped[:, :2] / mapped[:, 2:] - b) ** 2).sum())


def homography_inliers(pair: Pair, straighten: Straighten) -> NDArray[np.bool_]:
    """Which matches [m] of a pair one homography explains."""
    return _estimated(pycolmap.estimate_homography_matrix, pair, straighten)[0]


def _estimated(
    estimate: Callable[..., dict[str, Any] | None], pair: Pair, straighten: Straighten
) -> tuple[NDArray[np.bool_], Array | None]:
    """Which matches [m] of a pair agree with one geometry, and its matrix [3, 3]."""
    a, b = straighten(pair.at_a), straighten(pair.at_b)
    seen = np.flatnonzero(np.isfinite(a).all(axis=1) & np.isfinite(b).all(axis=1))
    out = np.zeros(len(a), np.bool_)
    if len(seen) < FEWEST:
        return out, None
    options = pycolmap.RANSACOptions()
    options.max_error, options.random_seed, options.num_threads = MAX_ERROR_PX, SEED, 1
    found = estimate(a[seen], b[seen], options)
    if found is None:
        return out, None
    out[seen[np.asarray(found["inlier_mask"], np.bool_)]] = True
    return out, found.get("H")
