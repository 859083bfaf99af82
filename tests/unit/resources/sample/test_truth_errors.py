"""Metrics against answers that are known without computing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pycocotools import mask as coco

from egoworld_resources.sample import truth_errors

seeds = st.integers(0, 2**32 - 1)
angles = st.floats(-3.1, 3.1)


def turned(axis: int, angle: float) -> NDArray[np.float64]:
    """A rotation about a coordinate axis."""
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    out = np.eye(3)
    out[[i, j], [i, j]] = np.cos(angle)
    out[i, j], out[j, i] = -np.sin(angle), np.sin(angle)
    return out


def random_rotation(rng: np.random.Generator) -> NDArray[np.float64]:
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q if np.linalg.det(q) > 0 else -q


def rigid(rotation: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.float64]:
    out = np.eye(4)
    out[:3, :3], out[:3, 3] = rotation, at
    return out


def rle(picture: NDArray[np.bool_]) -> truth_errors.Rle:
    return dict(coco.encode(np.asfortranarray(picture, dtype=np.uint8)))


def test_a_known_similarity_is_found() -> None:
    source = np.array([[0.0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 3], [1, 1, 1]])
    found = truth_errors.umeyama(source, 2.5 * source @ turned(2, 0.7).T + [4, -5, 6])
    assert found.scale == pytest.approx(2.5)
    np.testing.assert_allclose(found.rotation, turned(2, 0.7), atol=1e-12)
    np.testing.assert_allclose(found.offset, [4, -5, 6], atol=1e-12)


def test_an_alignment_never_mirrors() -> None:
    source = np.random.default_rng(0).normal(size=(20, 3))
    found = truth_errors.umeyama(source, source * [1, 1, -1])
    assert np.linalg.det(found.rotation) == pytest.approx(1.0)


@pytest.mark.parametrize("points", [np.zeros((2, 3)), np.ones((5, 3))])
def test_too_little_to_align_is_refused(points: NDArray[np.float64]) -> None:
    with pytest.raises(ValueError, match=r"needs 3 or more|all points are the same"):
        truth_errors.umeyama(points, np.arange(points.size, dtype=float).reshape(points.shape))


@given(seeds, st.floats(0.01, 100), st.integers(4, 40))
def test_the_trajectory_error_does_not_see_a_similarity_of_the_estimate(seed: int, scale: float, count: int) -> None:
    rng = np.random.default_rng(seed)
    true = rng.normal(size=(count, 3))
    estimate = true + 0.1 * rng.normal(size=(count, 3))
    moved = scale * estimate @ random_rotation(rng).T + rng.normal(size=3)
    assert truth_errors.trajectory_error(moved, true) == pytest.approx(
        truth_errors.trajectory_error(estimate, true), rel=1e-6
    )
    assert truth_errors.trajectory_error(scale * true @ random_rotation(rng).T, true) == pytest.approx(0, abs=1e-9)


def test_a_trajectory_error_is_the_known_one() -> None:
    """Ends of a cross, pushed out of its plane by turns: no similarity can take the push back."""
    true = np.array([[10.0, 0, 0], [0, 10, 0], [-10, 0, 0], [0, -10, 0]])
    pushed = true + 0.5 * np.array([[0, 0, 1.0], [0, 0, -1], [0, 0, 1], [0, 0, -1]])
    scale = 1 / (1 + 0.05**2)
    left = np.hypot(10 * (1 - scale), 0.5 * scale)
    assert truth_errors.trajectory_error(pushed, true) == pytest.approx(left)


def test_the_length_of_a_path() -> None:
    assert truth_errors.path_length(np.array([[0.0, 0, 0], [3, 4, 0], [3, 4, 12]])) == pytest.approx(17)


@given(st.integers(0, 2), angles, seeds)
def test_angles_between_rotations(axis: int, angle: float, seed: int) -> None:
    other = random_rotation(np.random.default_rng(seed))
    found = truth_errors.rotation_angles((other @ turned(axis, angle))[None], other[None])
    assert found[0] == pytest.approx(np.degrees(abs(angle)), abs=1e-5)


def test_the_mean_of_two_rotations_lies_between_them() -> None:
    mean = truth_errors.mean_rotation(np.array([turned(0, 0.2), turned(0, 0.6)]))
    np.testing.assert_allclose(mean, turned(0, 0.4), atol=1e-12)


@given(seeds, st.floats(0.05, 20))
def test_an_objects_own_frame_and_the_scale_are_no_error(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    estimated = np.array([rigid(random_rotation(rng), rng.normal(size=3)) for _ in range(6)])
    own = rigid(random_rotation(rng), rng.normal(size=3))
    scaled = estimated.copy()
    scaled[:, :3, 3] *= scale
    turns, gaps = truth_errors.object_pose_errors(estimated, scaled @ own, scale)
    np.testing.assert_allclose(turns, 0, atol=1e-4)
    np.testing.assert_allclose(gaps, 0, atol=1e-9)


def test_known_errors_of_object_poses() -> None:
    rng = np.random.default_rng(1)
    true = np.array([rigid(np.eye(3), rng.normal(size=3)) for _ in range(4)])
    estimated = true.copy()
    for number, sign in enumerate((1, -1, 1, -1)):
        estimated[number, :3, :3] = turned(1, sign * np.radians(3))
    turns, gaps = truth_errors.object_pose_errors(estimated, true, 1.0)
    np.testing.assert_allclose(turns, 3, atol=1e-6)
    np.testing.assert_allclose(gaps, 0, atol=1e-12)
    estimated = true.copy()
    estimated[:, 0, 3] += [0.02, -0.02, 0.02, -0.02]
    turns, gaps = truth_errors.object_pose_errors(estimated, true, 1.0)
    np.testing.assert_allclose(turns, 0, atol=1e-6)
    np.testing.assert_allclose(gaps, 0.02)


@given(seeds)
def test_rays_go_through_the_pixels_that_they_are_projected_to(seed: int) -> None:
    rng = np.random.default_rng(seed)
    intrinsics, pixels = np.array([400.0, 410.0, 319.5, 179.5]), rng.uniform(0, 360, (8, 2))
    points = truth_errors.viewing_rays(intrinsics, pixels) * rng.uniform(0.1, 9, (8, 1))
    np.testing.assert_allclose(truth_errors.project(intrinsics, points), pixels, atol=1e-9)
    np.testing.assert_allclose(truth_errors.project(np.tile(intrinsics, (8, 1)), points), pixels, atol=1e-9)


def test_a_point_behind_the_camera_has_no_pixel() -> None:
    assert np.isnan(truth_errors.project(np.array([1.0, 1, 0, 0]), np.array([[0.0, 0, -1]]))).all()


def test_rays_enter_a_box_where_its_face_is() -> None:
    origin, size = np.array([0.0, 0, -5]), np.array([2.0, 2, 4])
    rays = np.array([[0.0, 0, 1], [0.2, 0, 1], [1, 0, 1], [0, 0, -1], [0, 1, 0]])
    np.testing.assert_allclose(truth_errors.hit_box(origin, rays, size), [3, 3, np.inf, np.inf, np.inf])


@given(seeds)
@settings(max_examples=50)
def test_a_point_where_a_ray_enters_a_box_lies_on_its_surface(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size, origin = rng.uniform(0.1, 1, 3), rng.normal(size=3) + 2
    rays = rng.uniform(-0.5, 0.5, (30, 3)) * size - origin
    times = truth_errors.hit_box(origin, rays, size)
    assert np.isfinite(times).all(), "every ray is aimed at a point in the box"
    outside = np.abs(origin + times[:, None] * rays) / (size / 2)
    np.testing.assert_allclose(outside.max(axis=1), 1.0)


def test_the_nearest_rectangle_that_faces_the_eye_is_hit() -> None:
    near = truth_errors.Rectangles(
        corners=np.array([[-1.0, -1, 2], [-5, -5, 4], [-1, -1, 1]]),
        across=np.array([[2.0, 0, 0], [10, 0, 0], [0, 2, 0]]),
        down=np.array([[0.0, 2, 0], [0, 10, 0], [2, 0, 0]]),
        windows=np.array([[0.0, 0, 0.5, 1], [0, 0, 1, 1], [0, 0, 1, 1]]),
    )
    rays = np.array([[-0.1, 0, 1], [0.1, 0, 1], [0, 0, -1]])
    np.testing.assert_allclose(near.hit(np.zeros(3), rays), [2, 4, np.inf])


def test_overlap_of_two_squares() -> None:
    a, b, rest = np.zeros((3, 20, 30), bool)
    a[2:12, 3:13], b[2:12, 8:18], rest[2:12, 13:18] = True, True, True
    assert truth_errors.mask_iou([rle(a)], [rle(b)]) == pytest.approx(50 / 150)
    assert truth_errors.mask_iou([rle(a), rle(rest)], [rle(b)]) == pytest.approx(100 / 150)
    assert truth_errors.mask_iou([], [rle(b)]) == 0
    assert truth_errors.mask_iou([], []) == 1


@given(seeds, st.floats(0, 1), st.floats(0, 1))
def test_overlap_is_a_symmetric_share(seed: int, p: float, q: float) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.random((2, 9, 11)) < np.array([p, q])[:, None, None]
    found = truth_errors.mask_iou([rle(a)], [rle(b)])
    union = (a | b).sum()
    assert found == pytest.approx((a & b).sum() / union if union else 1.0)
    assert found == truth_errors.mask_iou([rle(b)], [rle(a)])
    assert 0 <= found <= truth_errors.mask_iou([rle(a)], [rle(a)]) == 1


def test_limits_of_joints_that_have_them(tmp_path: Path) -> None:
    urdf = tmp_path / "robot.urdf"
    urdf.write_text(
        '<robot name="r"><joint name="bend" type="revolute"><limit lower="-0.5" upper="1.5" effort="1" velocity="1"/>'
        '</joint><joint name="spin" type="continuous"/><joint name="weld" type="fixed"/></robot>'
    )
    assert truth_errors.joint_limits(urdf) == {"bend": (-0.5, 1.5)}


def test_the_diagonal_of_a_box_around_points() -> None:
    assert truth_errors.box_diagonal(np.array([[1.0, 1], [4, 3], [2, 5]])) == pytest.approx(5)
