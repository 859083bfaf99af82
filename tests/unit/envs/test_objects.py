"""What counts as an object, which boxes are of one thing, and that a window gives the pixels of the whole picture."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest

BASE = Path(__file__).parents[3] / "envs" / "base"
FPS, WIDTH = 30.0, 320
AWAY, AT_HAND = 0.4, 0.9
"""Scores of a moving region far from a hand and at one."""
NAMED = {"label": "cup", "score": 0.8, "x0": 100.0, "y0": 100.0, "x1": 160.0, "y1": 180.0}
HAND = {"label": "right hand", "score": 0.9, "x0": 165.0, "y0": 120.0, "x1": 225.0, "y1": 180.0}
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def base() -> Iterator[Callable[[str], ModuleType]]:
    """Modules of the env base by name, from its folder on the path, as the runner puts it there."""
    sys.path.insert(0, str(BASE))
    try:
        yield __import__
    finally:
        sys.path.remove(str(BASE))


def track(base: Callable[[str], ModuleType], scores: list[float], step: float = 2.0) -> Any:
    """One box a frame with these scores, going right by ``step`` px a frame."""
    linking = base("linking")
    boxes = [linking.Box(n, 50 + step * n, 50, 90 + step * n, 90, score) for n, score in enumerate(scores)]
    return linking.Tracklet(boxes)


@pytest.mark.parametrize(
    ("scores", "step", "counts"),
    [
        ([AT_HAND] * 9, 2.0, True),
        ([AT_HAND] * 8, 2.0, False),
        ([AWAY] * 20 + [AT_HAND] * 12 + [AWAY] * 20, 2.0, True),
        ([AWAY] * 90, 2.0, False),
        (([AT_HAND] * 5 + [AWAY] * 5) * 6, 2.0, False),
        ([AT_HAND] * 30, 0.02, False),
    ],
    ids=["moved by a hand", "too shortly", "let go of", "by itself", "a hand passes again and again", "at rest"],
)
def test_an_object_is_what_a_hand_moves(
    base: Callable[[str], ModuleType], scores: list[float], step: float, counts: bool
) -> None:
    assert base("detections").worth(track(base, scores, step), FPS, WIDTH) is counts


def seeded(base: Callable[[str], ModuleType], rows: Rows) -> set[str]:
    """The names of what masks are begun for, in a picture of 640x360 px."""
    found = base("passes").seeds(rows, 1.0, (640, 360), FPS)
    return {box.label for starts in found.values() for _, box in starts}


def test_a_named_thing_is_an_object_when_a_hand_comes_near(base: Callable[[str], ModuleType]) -> None:
    alone = [{**NAMED, "frame": frame} for frame in range(60)]
    table = [
        {**NAMED, "label": "table", "x0": 0.0, "x1": 640.0, "y0": 150.0, "y1": 360.0, "frame": n} for n in range(60)
    ]
    assert seeded(base, alone) == set()
    assert seeded(base, alone + table + [{**HAND, "frame": frame} for frame in range(40, 45)]) == {"cup"}
    assert seeded(base, alone + [{**HAND, "frame": frame} for frame in range(40, 43)]) == set(), "a hand that passes"
    far = [{**HAND, "x0": 400.0, "x1": 460.0, "frame": frame} for frame in range(60)]
    assert seeded(base, alone + far) == set()


def test_a_cup_on_a_table_is_no_part_of_it_but_may_be_called_a_bowl(base: Callable[[str], ModuleType]) -> None:
    linking = base("linking")
    frames = []
    for n in range(12):
        cup = linking.Box(n, 100, 100, 140, 150, 0.8, label="bowl" if n % 3 == 1 else "cup")
        table = linking.Box(n, 0, 90, 320, 180, 0.9, label="table")
        frames.append((n, [table, cup] if n != 5 else [cup]))
    names = sorted(tuple(sorted(one.votes)) for one in linking.link(frames, patience=3))
    assert names == [("bowl", "cup"), ("table",)]


@pytest.mark.parametrize("full", [(1280, 720), (960, 540), (1920, 1080), (848, 480), (640, 360), (1270, 713)])
def test_a_mask_is_enlarged_in_a_window_as_in_the_whole(
    base: Callable[[str], ModuleType], full: tuple[int, int]
) -> None:
    small = (640, round(full[1] * 640 / full[0]))
    enlarge = base("enlarging").Enlarging(small, full)
    rng = np.random.default_rng(0)
    for x, y, radius in ((300, 150, 60), (5, 8, 30), (630, small[1] - 3, 25), (320, small[1] // 2, 4)):
        drawn = cv2.circle(np.zeros(small[::-1], np.float32), (x, y), radius, 1.0, -1)
        chance = cv2.GaussianBlur(drawn, (0, 0), 1.5) * rng.uniform(0.8, 1.0, drawn.shape).astype(np.float32)
        expected = cv2.resize(chance, full, interpolation=cv2.INTER_LINEAR) > 0.5
        pixels = enlarge.above_half(chance)
        assert expected.any()
        np.testing.assert_array_equal(pixels, expected)
        back = cv2.resize(expected.astype(np.uint8), small, interpolation=cv2.INTER_NEAREST_EXACT)
        np.testing.assert_array_equal(enlarge.reduced(pixels), back)
    assert enlarge.above_half(np.full(small[::-1], 0.4, np.float32)) is None


@pytest.mark.parametrize("radius", [-9.0, -4.0, -1.5, 1.0, 3.0, 6.0, 30.0])
def test_a_mask_grows_around_itself_as_in_the_whole_picture(base: Callable[[str], ModuleType], radius: float) -> None:
    pixels = np.zeros((180, 320), np.uint8)
    cv2.circle(pixels, (100, 90), 40, 1, -1)
    cv2.rectangle(pixels, (280, 0), (319, 20), 1, -1)
    disc = base("cutting").disc(abs(radius))
    if abs(radius) < 4:
        expected = (cv2.dilate if radius > 0 else cv2.erode)(pixels, disc) > 0
    elif radius > 0:
        expected = cv2.distanceTransform(1 - pixels, cv2.DIST_L2, 3) <= radius
    else:
        expected = cv2.distanceTransform(pixels, cv2.DIST_L2, 3) > -radius
    np.testing.assert_array_equal(base("cutting").grown(pixels.astype(bool), radius), expected)
    assert not base("cutting").grown(np.zeros((9, 9), bool), radius).any()
