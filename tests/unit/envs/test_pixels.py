"""Where points lie: a spot whose centre is known to a fraction of a pixel, in every stage that resizes pictures."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from egoworld_runner import Clip, FrameIndex
from egoworld_runner.hand_boxes import PAD, hand_boxes, palm_length
from egoworld_runner.pixels import from_corner, resized, to_corner
from made_videos import counting

ENVS = Path(__file__).parents[3] / "envs"
SPOTS = [(200.0, 120.0), (201.25, 120.5), (310.6, 233.4)]


def spot(at: tuple[float, float], size: tuple[int, int] = (640, 480), sigma: float = 12.0) -> NDArray[np.uint8]:
    """A bright round spot on black, RGB [h, w, 3]; its centre of mass is ``at``, the first pixel's centre being 0."""
    ys, xs = np.mgrid[0 : size[1], 0 : size[0]]
    level = 250 * np.exp(-((xs - at[0]) ** 2 + (ys - at[1]) ** 2) / (2 * sigma**2))
    return np.repeat(level.round().astype(np.uint8)[..., None], 3, axis=2)


def centre(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The centre of mass x, y of a picture."""
    grey = picture.astype(np.float64).mean(axis=2)
    ys, xs = np.mgrid[0 : grey.shape[0], 0 : grey.shape[1]]
    return np.array([(xs * grey).sum(), (ys * grey).sum()]) / grey.sum()


class Given:
    """Rows of hand poses as a stage is given them."""

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self._rows = rows

    def rows(self, table: str) -> Sequence[Mapping[str, Any]]:
        assert table == "hand_poses"
        return self._rows


@pytest.fixture(scope="module")
def base() -> ModuleType:
    """The folder of the env base on the path, as the runner puts it there; its modules are imported by name."""
    sys.path.insert(0, str(ENVS / "base"))
    try:
        import detections
        import ego_video  # noqa: F401
        import hands  # noqa: F401
    finally:
        sys.path.remove(str(ENVS / "base"))
    return detections


@pytest.mark.parametrize("at", SPOTS)
def test_a_point_of_a_resized_picture_is_where_the_picture_shows_it(at: tuple[float, float]) -> None:
    for width, height in ((160, 120), (320, 240), (1280, 960)):
        how = cv2.INTER_AREA if width < 640 else cv2.INTER_LINEAR
        small = cv2.resize(spot(at), (width, height), interpolation=how)
        scale = np.array([width / 640, height / 480])
        np.testing.assert_allclose(resized(np.array(at), scale), centre(small.astype(np.uint8)), atol=0.02)


def test_the_corner_of_the_picture_is_half_a_pixel_from_its_first_pixel() -> None:
    assert from_corner(np.zeros(2)).tolist() == [-0.5, -0.5]
    assert to_corner(np.array([639.0, 479.0])).tolist() == [639.5, 479.5]
    assert resized(np.array([-0.5, 639.5]), 0.25).tolist() == [-0.5, 159.5], "edges stay edges"
    assert resized(np.array([1.0, 2.0], np.float32), 0.25).dtype == np.float32


@pytest.mark.parametrize("at", SPOTS)
@pytest.mark.parametrize("canvas", [(160, 120), (320, 320), (1280, 960)])
def test_points_on_the_canvas_of_an_episode(base: ModuleType, at: tuple[float, float], canvas: tuple[int, int]) -> None:
    box = sys.modules["ego_video"].Letterbox.fit(640, 480, *canvas)
    drawn = centre(box.draw(spot(at)))
    np.testing.assert_allclose(box.points(np.array(at)), drawn, atol=0.05)
    lens = box.intrinsics(np.array([500.0, 510.0, *at]))
    np.testing.assert_allclose(lens, [500 * box.scale_x, 510 * box.scale_y, *box.points(np.array(at))])


def test_the_box_of_a_hand_is_as_far_from_its_joints_on_all_sides(base: ModuleType) -> None:
    """Joints on the pixels 100 to 139: the box, whose edges count pixels, is around both of them."""
    along = np.linspace(100.0, 139.0, 21)
    joints = np.stack([along, along], axis=1).astype(np.float32)
    (box,) = hand_boxes([{"frame": 0, "side": "right", "score": 1.0, "keypoints_2d": joints}], 640, 480)
    around = PAD * palm_length(joints)
    near, far = 100.5 - around, 139.5 + around
    assert (box.x0, box.y0, box.x1, box.y1) == pytest.approx((near, near, far, far), abs=1e-4)


def test_a_hand_outside_the_picture_has_no_box(base: ModuleType, tmp_path: Path) -> None:
    """Joints may lie outside the picture: such a hand is no detection, and none without an area blocks the stage."""
    rows = [{"frame": f, "side": "right", "score": 1.0, "keypoints_2d": np.tile((-500.0, 20.0), 21)} for f in (0, 1)]
    rows += [{"frame": 1, "side": "left", "score": 1.0, "keypoints_2d": np.tile((20.0, 20.0), 21)}]
    path = counting(tmp_path / "two.mp4", 2)
    clip = Clip("two", path, FrameIndex.scan(path), 0, 2, tmp_path)
    found = list(base.MovingObjects().run(clip, Given(rows), {"work_width": 64}))
    assert [(row.frame, row.label) for row in found] == [(1, "left hand")]
