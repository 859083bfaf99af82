"""Which hand is which: linking, voting, and two hands that claim one side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from made_clips import env_module

sides = env_module(Path(__file__).parents[3] / "envs" / "mediapipe" / "hand_sides.py")

SHAPE = np.array([(x % 5 * 20.0, x // 5 * 25.0) for x in range(21)])
FPS = 30.0


def seen(frame: int, p_right: float, x: float = 0.0):
    """A hand of 100 px whose joints are moved by ``x``."""
    return sides.Seen(frame, p_right, SHAPE + np.array([x, 0.0]), np.zeros((21, 3)))


def named(frames) -> list[tuple[int, str, float]]:
    return [(one.frame, side, float(one.keypoints_2d[0, 0])) for side, one in sides.sided(frames, FPS)]


def test_a_doubtful_frame_keeps_the_side_of_the_hand_that_it_belongs_to() -> None:
    found = named([[seen(i, 0.2 if i == 5 else 0.95, x=3.0 * i)] for i in range(10)])
    assert [side for _, side, _ in found] == ["right"] * 10


def test_a_hand_that_becomes_the_other_one_for_good_changes_side_once() -> None:
    found = named([[seen(i, 0.97 if i < 12 else 0.03)] for i in range(24)])
    assert [side for _, side, _ in found] == ["right"] * 12 + ["left"] * 12


def test_one_hand_seen_twice_is_one_hand() -> None:
    assert named([[seen(i, 0.9), seen(i, 0.3, x=10.0)] for i in range(4)]) == [(i, "right", 0.0) for i in range(4)]


def test_a_doubtful_second_right_hand_is_the_left_one() -> None:
    found = named([[seen(i, 0.98), seen(i, 0.6, x=400.0)] for i in range(6)])
    assert found == [row for i in range(6) for row in ((i, "left", 400.0), (i, "right", 0.0))]


def test_a_sure_second_right_hand_is_somebody_elses() -> None:
    found = named([[seen(i, 0.99), seen(i, 0.96, x=400.0)] for i in range(6)])
    assert found == [(i, "right", 0.0) for i in range(6)]


def test_a_hand_that_was_gone_is_judged_anew() -> None:
    before, after = [[seen(i, 0.95)] for i in range(8)], [[seen(i, 0.05)] for i in range(40, 48)]
    found = named([*before, *([] for _ in range(32)), *after])
    assert [side for _, side, _ in found] == ["right"] * 8 + ["left"] * 8


def test_nothing_seen_is_nothing_found() -> None:
    assert named([[], [], []]) == []


@given(st.lists(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1000)), max_size=4), max_size=25))
def test_a_frame_never_has_two_hands_of_a_side_nor_one_hand_for_both(frames) -> None:
    made = [[seen(i, p, x) for p, x in hands] for i, hands in enumerate(frames)]
    found = sides.sided(made, FPS)
    places = [(one.frame, side) for side, one in found]
    assert places == sorted(set(places))
    for frame in {frame for frame, _ in places}:
        both = [one for _, one in found if one.frame == frame]
        assert len(both) == 1 or both[0].distance(both[1]) >= sides.SAME_HAND
    given_ones = {id(one) for hands in made for one in hands}
    assert all(id(one) in given_ones for _, one in found)


@pytest.mark.parametrize("p_right", [0.0, 1.0])
def test_certainty_of_a_single_frame_is_bounded(p_right: float) -> None:
    assert abs(sides.log_odds([seen(0, p_right)])[0]) == sides.CERTAINTY
