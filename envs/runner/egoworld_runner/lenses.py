"""Lenses: how a camera maps directions to pixels, by COLMAP's model names and Aria's.

| model | distortion | what is bent |
|---|---|---|
| PINHOLE | none | nothing |
| SIMPLE_RADIAL | k1 | x/z, y/z |
| RADIAL | k1, k2 | the same |
| OPENCV | k1, k2, p1, p2 | the same |
| OPENCV_FISHEYE | k1, k2, k3, k4 | the angle from the axis (equidistant; Kannala and Brandt 2006) |
| FISHEYE624 | k0 to k5, p0, p1, s0 to s3 | the same, then tangential and thin-prism terms (Project Aria) |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from egoworld_runner.pixels import resized

Array = NDArray[np.float64]

PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "PINHOLE": (),
    "SIMPLE_RADIAL": ("k1",),
    "RADIAL": ("k1", "k2"),
    "OPENCV": ("k1", "k2", "p1", "p2"),
    "OPENCV_FISHEYE": ("k1", "k2", "k3", "k4"),
    "FISHEYE624": ("k0", "k1", "k2", "k3", "k4", "k5", "p0", "p1", "s0", "s1", "s2", "s3"),
}
"""Names of the distortion's numbers by model, in the order of the tables."""
MOST_DISTORTION = max(map(len, PARAMETERS.values()))
FISHEYES = ("OPENCV_FISHEYE", "FISHEYE624")
FOCAL = ("fx", "fy", "cx", "cy")
ROUNDS = 20
STEP = 1e-6
CLOSE = 1e-6
EXACT = 1e-13
SAME_SHAPE = 0.005
"""How far width over height may be from that of the calibration: sizes are whole pixels."""


class BadLens(ValueError):
    """A description of a lens that cannot be used; the message says what is wrong and what is valid."""


@dataclass(frozen=True)
class Lens:
    """A camera model, its fx, fy, cx, cy in px (pixels.py) and its distortion as PARAMETERS has it."""

    model: str
    intrinsics: tuple[float, float, float, float]
    distortion: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.model not in PARAMETERS:
            raise BadLens(f"camera model {self.model!r} is not known; valid: {', '.join(PARAMETERS)}")
        wanted = PARAMETERS[self.model]
        if len(self.distortion) != len(wanted):
            names = ", ".join(wanted) or "no number"
            raise BadLens(f"distortion of {self.model} has {len(self.distortion)} numbers; it takes {names}")
        if not np.isfinite([*self.intrinsics, *self.distortion]).all() or min(self.intrinsics[:2]) <= 0:
            raise BadLens("fx and fy must be above 0, and every number finite")

    @property
    def fisheye(self) -> bool:
        """Whether the angle from the axis is bent, so that directions beyond 90 degrees have a pixel."""
        return self.model in FISHEYES

    def project(self, points: Array) -> Array:
        """Pixels [..., 2] of camera-frame points [..., 3]; NaN where the model has none (behind a camera)."""
        x, y, z = np.moveaxis(np.asarray(points, np.float64), -1, 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.fisheye:
                away = np.hypot(x, y)
                share = np.where(away > 0, np.arctan2(away, z) / away, 1.0 / z)
            else:
                share = np.where(z > 0, 1.0 / z, np.nan)
            flat = np.stack([x * share, y * share], axis=-1)
        return self._bent(flat) * np.array(self.intrinsics[:2]) + np.array(self.intrinsics[2:])

    def rays(self, pixels: Array) -> Array:
        """Unit directions [..., 3] in camera axes through pixels [..., 2]; NaN where no direction leads to a pixel."""
        aim = (np.asarray(pixels, np.float64) - np.array(self.intrinsics[2:])) / np.array(self.intrinsics[:2])
        flat = self._straightened(aim)
        if self.fisheye:
            angle = np.linalg.norm(flat, axis=-1, keepdims=True)
            out = np.concatenate([np.sinc(angle / np.pi) * flat, np.cos(angle)], axis=-1)
            return np.where(angle <= np.pi, out, np.nan)
        whole = np.concatenate([flat, np.ones_like(flat[..., :1])], axis=-1)
        return whole / np.linalg.norm(whole, axis=-1, keepdims=True)

    def normalised(self, pixels: Array) -> Array:
        """x/z, y/z [..., 2] of pixels [..., 2]; NaN where a pixel shows no point in front of the camera."""
        rays = self.rays(pixels)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(rays[..., 2:] > 0, rays[..., :2] / rays[..., 2:], np.nan)

    def resized(self, scale: Array) -> Lens:
        """The lens of the same pictures brought to ``scale`` [2] (x, y) of their size."""
        focal = np.array(self.intrinsics[:2]) * scale
        centre = resized(np.array(self.intrinsics[2:]), scale)
        return Lens(self.model, (float(focal[0]), float(focal[1]), float(centre[0]), float(centre[1])), self.distortion)

    def _straightened(self, aim: Array) -> Array:
        """What is bent to ``aim`` [..., 2]: Newton's method from the aim itself; NaN where it finds nothing."""
        flat = aim.copy()
        step_x, step_y = np.array([STEP, 0.0]), np.array([0.0, STEP])
        with np.errstate(all="ignore"):
            for _ in range(ROUNDS if any(self.distortion) else 0):
                gap = self._bent(flat) - aim
                if not (np.abs(gap) > EXACT).any():
                    break
                along, down = ((self._bent(flat + s) - self._bent(flat - s)) / (2 * STEP) for s in (step_x, step_y))
                area = along[..., 0] * down[..., 1] - along[..., 1] * down[..., 0]
                flat = flat - np.stack([
                    (gap[..., 0] * down[..., 1] - gap[..., 1] * down[..., 0]) / area,
                    (gap[..., 1] * along[..., 0] - gap[..., 0] * along[..., 1]) / area,
                ], axis=-1)  # fmt: skip
            left = np.linalg.norm(self._bent(flat) - aim, axis=-1, keepdims=True)
        return np.where(left < CLOSE, flat, np.nan)

    def _bent(self, flat: Array) -> Array:
        """Distorted x, y [..., 2] of undistorted ones: x/z, y/z, or of a fisheye the angle along its direction."""
        k = self.distortion
        square = (flat**2).sum(axis=-1, keepdims=True)
        if self.model == "PINHOLE":
            return flat
        if self.fisheye:
            radial = k[:6] if self.model == "FISHEYE624" else k
            bent = flat * _series(square, radial)
            return bent + _tangential(bent, k[6], k[7]) + _prism(bent, k[8:]) if len(k) > len(radial) else bent
        bent = flat * _series(square, k[:2])
        return bent + _tangential(flat, k[3], k[2]) if len(k) > 2 else bent


def lens_of_row(row: Mapping[str, Any]) -> Lens:
    """The lens of a row of a camera's table (tables.CameraPose) that has one."""
    fx, fy, cx, cy = map(float, row["intrinsics"])
    return Lens(str(row["camera_model"]), (fx, fy, cx, cy), tuple(map(float, row["distortion"])))


def _series(square: Array, factors: tuple[float, ...]) -> Array:
    """1 + k1 r^2 + k2 r^4 + …; ``square`` is r^2."""
    out = np.zeros_like(square)
    for factor in reversed(factors):
        out = (out + factor) * square
    return 1.0 + out


def _tangential(at: Array, along: float, down: float) -> Array:
    """Brown's decentring terms: ``along`` weighs r^2 + 2 x^2 in x, ``down`` r^2 + 2 y^2 in y."""
    x, y = at[..., 0], at[..., 1]
    square, both = x * x + y * y, 2 * x * y
    return np.stack([along * (square + 2 * x * x) + down * both, down * (square + 2 * y * y) + along * both], axis=-1)


def _prism(at: Array, s: tuple[float, ...]) -> Array:
    square = (at**2).sum(axis=-1)
    return np.stack([s[0] * square + s[1] * square**2, s[2] * square + s[3] * square**2], axis=-1)


def parse(facts: Any, width: int, height: int) -> Lens:
    """The lens that a table of configuration or a file describes, for pictures of ``width`` x ``height`` px.

    Fields: model, width and height of the calibration's pictures, f or fx and fy, cx and cy (px, the first pixel's
    centre at 0; default the middle), distortion (numbers, as PARAMETERS has them). Raises BadLens.
    """
    if not isinstance(facts, Mapping):
        raise BadLens('it must be a table such as {model = "PINHOLE", width = 1920, height = 1080, f = 1400}')
    known = {"model", "width", "height", "f", *FOCAL, "distortion"}
    if unknown := sorted(set(facts) - known):
        raise BadLens(f"{', '.join(unknown)} is not known; valid: {', '.join(sorted(known))}")
    model, distortion = facts.get("model", "PINHOLE"), facts.get("distortion", [])
    if not isinstance(distortion, list):
        raise BadLens("distortion must be a list of numbers")
    numbers = {name: facts[name] for name in ("width", "height", "f", *FOCAL) if name in facts}
    numbers |= {f"distortion[{place}]": value for place, value in enumerate(distortion)}
    if wrong := [n for n, v in numbers.items() if isinstance(v, bool) or not isinstance(v, int | float)]:
        raise BadLens(f"{', '.join(wrong)} must be a number")
    size = np.array([numbers.get("width", 0), numbers.get("height", 0)], np.float64)
    if (size <= 0).any():
        raise BadLens("width and height must be given, above 0: the size (px) of the pictures of the calibration")
    if ({"f"} & set(numbers), {"fx", "fy"} & set(numbers)) not in (({"f"}, set()), (set(), {"fx", "fy"})):
        raise BadLens("give either f, or both fx and fy (px)")
    scale = np.array([width, height]) / size
    if abs(scale[0] / scale[1] - 1) > SAME_SHAPE:
        raise BadLens(
            f"it was calibrated on pictures of {size[0]:g} x {size[1]:g} px, but this video's are {width} x {height}: "
            "another shape shows another part of the sensor; give the calibration of this recording mode"
        )
    both = numbers.get("f", 0.0)
    fallback = {"fx": both, "fy": both, "cx": (size[0] - 1) / 2, "cy": (size[1] - 1) / 2}
    fx, fy, cx, cy = (float(numbers.get(name, fallback[name])) for name in FOCAL)
    return Lens(str(model), (fx, fy, cx, cy), tuple(map(float, distortion))).resized(scale)
