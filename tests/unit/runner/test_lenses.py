"""Lenses: OpenCV agrees where it has the same model, Aria's own calibration, and what is refused."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from egoworld_runner.lenses import BadLens, Lens, parse

INTRINSICS = (420.0, 430.0, 321.0, 244.0)
MATRIX = np.array([[420.0, 0, 321.0], [0, 430.0, 244.0], [0, 0, 1.0]])
ARIA = (0.4, -0.46, -0.1, 0.5, -0.3, 0.05, 0.0008, 0.0003, -0.0007, 0.0005, 0.0002, -0.0004)
"""Of the size of an Aria's colour camera."""
LENSES = {
    "PINHOLE": (),
    "SIMPLE_RADIAL": (-0.1,),
    "RADIAL": (-0.15, 0.02),
    "OPENCV": (-0.1, 0.02, 0.003, -0.002),
    "OPENCV_FISHEYE": (0.03, -0.01, 0.002, 0.001),
    "FISHEYE624": ARIA,
}


def points(widest: float) -> NDArray[np.float64]:
    """Directions up to an angle (degrees) from the axis, at several distances."""
    rng = np.random.default_rng(4)
    angle, around, away = np.radians(rng.uniform(0, widest, 300)), rng.uniform(0, 7, 300), rng.uniform(0.3, 5, 300)
    flat = np.stack([np.sin(angle) * np.cos(around), np.sin(angle) * np.sin(around), np.cos(angle)], axis=1)
    return flat * away[:, None]


@pytest.mark.parametrize("model", ["PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV"])
def test_opencv_projects_to_the_same_pixels(model: str) -> None:
    seen = points(40)
    distortion = np.array([*LENSES[model], 0.0, 0.0, 0.0, 0.0][:4])
    want, _ = cv2.projectPoints(seen, np.zeros(3), np.zeros(3), MATRIX, distortion)
    np.testing.assert_allclose(Lens(model, INTRINSICS, LENSES[model]).project(seen), want.reshape(-1, 2), atol=1e-9)


def test_opencv_projects_through_a_fisheye_to_the_same_pixels() -> None:
    seen = points(80)
    lens = Lens("OPENCV_FISHEYE", INTRINSICS, LENSES["OPENCV_FISHEYE"])
    want, _ = cv2.fisheye.projectPoints(
        seen[:, None], np.zeros(3), np.zeros(3), MATRIX, np.array(LENSES["OPENCV_FISHEYE"])
    )
    np.testing.assert_allclose(lens.project(seen), want.reshape(-1, 2), atol=1e-9)


def test_arias_model_by_its_own_formula() -> None:
    """Project Aria, camera intrinsic models: FisheyeRadTanThinPrism."""
    x, y, z = points(50).T
    k, (p0, p1), s = ARIA[:6], ARIA[6:8], ARIA[8:]
    angle = np.arctan2(np.hypot(x, y), z)
    bent = angle + sum(factor * angle ** (2 * power + 3) for power, factor in enumerate(k))
    u, v = bent * x / np.hypot(x, y), bent * y / np.hypot(x, y)
    r2 = u * u + v * v
    want_u = u + 2 * u * (u * p0 + v * p1) + r2 * p0 + s[0] * r2 + s[1] * r2**2
    want_v = v + 2 * v * (u * p0 + v * p1) + r2 * p1 + s[2] * r2 + s[3] * r2**2
    want = np.stack([420.0 * want_u + 321.0, 430.0 * want_v + 244.0], axis=1)
    np.testing.assert_allclose(Lens("FISHEYE624", INTRINSICS, ARIA).project(points(50)), want, atol=1e-9)


@pytest.mark.parametrize("model", sorted(LENSES))
def test_a_ray_leads_back_to_its_pixel(model: str) -> None:
    lens = Lens(model, INTRINSICS, LENSES[model])
    seen = points(60 if lens.fisheye else 40)
    rays = lens.rays(lens.project(seen))
    np.testing.assert_allclose(rays, seen / np.linalg.norm(seen, axis=1, keepdims=True), atol=1e-9)
    np.testing.assert_allclose(lens.normalised(lens.project(seen)), seen[:, :2] / seen[:, 2:], rtol=1e-6)


def test_a_fisheye_sees_sideways_and_a_pinhole_sees_nothing_behind_it() -> None:
    side = np.array([[1.0, 0.0, -0.1]])
    assert np.isfinite(Lens("OPENCV_FISHEYE", INTRINSICS, (0.0, 0.0, 0.0, 0.0)).project(side)).all()
    assert np.isnan(Lens("PINHOLE", INTRINSICS).project(side)).all()


def test_half_the_size_is_half_the_pixel() -> None:
    lens = Lens("OPENCV", INTRINSICS, LENSES["OPENCV"])
    half = lens.resized(np.array([0.5, 0.5]))
    np.testing.assert_allclose(half.project(points(40)), (lens.project(points(40)) + 0.5) / 2 - 0.5, atol=1e-9)


GIVEN: dict[str, Any] = {"model": "OPENCV", "width": 1920, "height": 1080, "f": 1400, "distortion": [-0.1, 0, 0, 0]}


def test_a_description_holds_for_another_size_of_the_same_picture() -> None:
    lens = parse(GIVEN, 960, 540)
    assert lens == Lens("OPENCV", (700.0, 700.0, 479.5, 269.5), (-0.1, 0.0, 0.0, 0.0))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": "GOPRO"}, "camera model 'GOPRO' is not known; valid: PINHOLE, SIMPLE_RADIAL"),
        ({"distortion": [0.1]}, "distortion of OPENCV has 1 numbers; it takes k1, k2, p1, p2"),
        ({"distortion": 0.1}, "distortion must be a list"),
        ({"distortion": [0, 0, 0, "x"]}, "distortion[3] must be a number"),
        ({"f": "wide"}, "f must be a number"),
        ({"f": -1400}, "fx and fy must be above 0"),
        ({"f": float("nan")}, "every number finite"),
        ({"fx": 1400}, "give either f, or both fx and fy"),
        ({"width": 0}, "width and height must be given, above 0"),
        ({"width": 1440}, "calibrated on pictures of 1440 x 1080 px, but this video's are 960 x 540"),
        ({"focal": 3}, "focal is not known; valid: cx, cy, distortion, f, fx, fy, height, model, width"),
    ],
)
def test_a_wrong_description_is_refused_in_words(change: dict[str, Any], said: str) -> None:
    with pytest.raises(BadLens) as error:
        parse(GIVEN | change, 960, 540)
    assert said in str(error.value)
    with pytest.raises(BadLens, match="must be a table"):
        parse("wide", 960, 540)
