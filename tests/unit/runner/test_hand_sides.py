"""Which hand is which: linking, the model, arms, both hands together, and two hands that claim one side."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from egoworld_runner.hands.sides import CERTAINTY, log_odds, right_arms_from, sided, with_odds
from egoworld_runner.hands.sighting import SAME_HAND, Sighting, followed

FPS = 30.0
WIDTH = 1000
FLAT = np.array([(x % 5 * 20.0, x // 5 * 25.0) for x in range(21)])
"""100 px; its wrist is in the middle of its knuckles, about, so that no arm says anything."""
UP = np.zeros((21, 2))
UP[1:] = [(20.0 * (finger - 2), -60.0 - 15.0 * joint) for finger in range(5) for joint in range(4)]
"""Fingers up, the wrist at the origin: the arm comes from below."""


def seen(frame: int, p_right: float, x: float = 0.0, y: float = 0.0) -> Sighting:
    """A hand whose arm is not seen, its joints moved by ``x`` and ``y`` from the middle of the picture's top."""
    shape = FLAT + np.array([WIDTH / 2 + x, y])
    shape[[5, 9, 13, 17]] = shape[0]
    return Sighting(frame, p_right, shape, np.zeros((21, 3)))


def with_arm(frame: int, p_right: float, wrist: tuple[float, float], degrees: float) -> Sighting:
    """A hand whose arm comes from below at 0 degrees, from the right at 90, from above at 180, from the left at 270."""
    turn = -np.radians(degrees)
    c, s = np.cos(turn), np.sin(turn)
    return Sighting(frame, p_right, UP @ np.array([[c, s], [-s, c]]) + wrist)


def named(frames) -> list[tuple[int, str, Sighting]]:
    return [(row.seen.frame, row.side, row.seen) for row in sided(followed(with_odds(frames, WIDTH), FPS))]


def names(frames) -> list[str]:
    return [side for _, side, _ in named(frames)]


def test_a_doubtful_frame_keeps_the_side_of_the_hand_that_it_belongs_to() -> None:
    assert names([[seen(i, 0.2 if i == 5 else 0.95, x=3.0 * i)] for i in range(10)]) == ["right"] * 10


def test_a_hand_that_becomes_the_other_one_for_good_changes_side_once() -> None:
    assert names([[seen(i, 0.97 if i < 12 else 0.03)] for i in range(24)]) == ["right"] * 12 + ["left"] * 12


def test_a_hand_that_leaps_and_looks_like_the_other_one_is_the_other_one_at_once() -> None:
    """What is followed leaps by 70 px, as the other hand comes in where the first one went out."""
    assert names([[seen(i, 0.97 if i < 8 else 0.03, x=70.0 * (i >= 8))] for i in range(10)]) == [
        *["right"] * 8,
        *["left"] * 2,
    ]


def test_one_hand_seen_twice_is_one_hand() -> None:
    found = named([[seen(i, 0.9), seen(i, 0.3, x=10.0)] for i in range(4)])
    assert [(frame, side) for frame, side, _ in found] == [(i, "right") for i in range(4)]


def test_a_hand_seen_with_its_mirror_image_in_the_same_place_is_one_hand() -> None:
    def mirrored(one: Sighting) -> Sighting:
        middle = one.keypoints_2d.mean(axis=0)
        return Sighting(one.frame, 0.3, np.array([-1, 1]) * (one.keypoints_2d - middle) + middle)

    hands = [with_arm(i, 0.95, (700, 500), 30) for i in range(8)]
    assert hands[0].distance(mirrored(hands[0])) > SAME_HAND / 2
    assert names([[hand, mirrored(hand)] for hand in hands]) == ["right"] * 8


def test_a_doubtful_second_right_hand_is_the_left_one() -> None:
    found = named([[seen(i, 0.98), seen(i, 0.6, y=400.0)] for i in range(6)])
    assert [(frame, side) for frame, side, _ in found] == [(i, side) for i in range(6) for side in ("left", "right")]
    assert {one.p_right for _, side, one in found if side == "left"} == {0.6}


def test_a_sure_second_right_hand_is_somebody_elses() -> None:
    found = named([[seen(i, 0.999), seen(i, 0.94, y=400.0)] for i in range(6)])
    assert [(side, one.p_right) for _, side, one in found] == [("right", 0.999)] * 6


def test_a_hand_that_was_gone_is_judged_anew() -> None:
    before, after = [[seen(i, 0.95)] for i in range(8)], [[seen(i, 0.05)] for i in range(40, 48)]
    assert names([*before, *([] for _ in range(32)), *after]) == ["right"] * 8 + ["left"] * 8


def person(frames: int, facing: bool, wrong: range) -> list[list[Sighting]]:
    """Both hands in every frame, arms from the person's own sides; the model names those in ``wrong`` the other way.

    facing: a person who faces the camera, with the arms from above; else arms from below, as a head camera sees them.
    """
    body = 180 if facing else 0
    found: list[list[Sighting]] = []
    for i in range(frames):
        right, left = (0.02, 0.98) if i in wrong else (0.98, 0.02)
        places = ((250.0, 300.0), (750.0, 300.0)) if facing else ((750.0, 300.0), (250.0, 300.0))
        turn = 35 if not facing else -35
        found.append([
            with_arm(i, right, places[0], body + (turn if not facing else -turn)),
            with_arm(i, left, places[1], body - (turn if not facing else -turn)),
        ])  # fmt: skip
    return found


@pytest.mark.parametrize("facing", [False, True], ids=["head camera", "facing the camera"])
def test_arms_decide_where_the_model_is_sure_and_wrong(facing: bool) -> None:
    """A quarter of the frames are wrong at 98 %, for a second on end: neither score nor continuity can tell."""
    frames = person(120, facing, wrong=range(40, 70))
    right_at = 250.0 if facing else 750.0
    found = named(frames)
    assert len(found) == 240
    assert {one.keypoints_2d[0, 0] for _, side, one in found if side == "right"} == {right_at}


def test_a_single_hand_that_the_model_names_wrongly_is_named_by_its_arm() -> None:
    """The left hand is gone while the right one, arm from the right, looks like a left one."""
    both = person(60, facing=False, wrong=range(0))
    alone = [[with_arm(i, 0.03, (750.0, 300.0), 35)] for i in range(90, 100)]
    assert [side for frame, side, _ in named([*both, *([] for _ in range(30)), *alone]) if frame >= 90] == [
        "right"
    ] * 10


def test_where_right_arms_come_from_is_learnt_from_the_clip() -> None:
    head, facing = ([one for two in person(30, facing=f, wrong=range(0)) for one in two] for f in (False, True))
    assert right_arms_from(head, WIDTH) > 0.9
    assert right_arms_from(facing, WIDTH) < -0.9
    assert right_arms_from([], WIDTH) == 0.0


def test_hands_that_cross_stay_themselves() -> None:
    """Each hand goes over to the other side of the picture; its arm still comes from its own."""
    frames = [
        [
            with_arm(i, 0.9, (700.0 - 10 * i, 300.0), 20 + 2 * i),
            with_arm(i, 0.1, (300.0 + 10 * i, 420.0), -20 - 2 * i),
        ]
        for i in range(40)
    ]
    found = named(frames)
    assert [one.p_right for _, side, one in found if side == "right"] == [0.9] * 40
    assert [one.p_right for _, side, one in found if side == "left"] == [0.1] * 40


def test_nothing_seen_is_nothing_found() -> None:
    assert named([[], [], []]) == []


@given(st.lists(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1000)), max_size=4), max_size=25))
def test_a_frame_never_has_two_hands_of_a_side_nor_one_hand_for_both(frames) -> None:
    made = [[seen(i, p, x) for p, x in hands] for i, hands in enumerate(frames)]
    found = named(made)
    places = [(frame, side) for frame, side, _ in found]
    assert places == sorted(set(places))
    for frame in {frame for frame, _ in places}:
        both = [one for at, _, one in found if at == frame]
        assert len(both) == 1 or both[0].distance(both[1]) >= SAME_HAND
    given_ones = {(i, one.p_right, one.keypoints_2d[0, 0]) for i, hands in enumerate(made) for one in hands}
    assert all((frame, one.p_right, one.keypoints_2d[0, 0]) in given_ones for frame, _, one in found)


@pytest.mark.parametrize("p_right", [0.0, 1.0])
def test_certainty_of_a_single_frame_is_bounded(p_right: float) -> None:
    assert abs(log_odds(seen(0, p_right))) == CERTAINTY
