"""What SAM 2 is asked, frame by frame: each thing keeps its obj_id however often it is shown again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from egoworld_runner.annotations.prompts import Prompt
from made_clips import env_module

asking = env_module(Path(__file__).parents[3] / "envs" / "sam2" / "asking.py")

EVERY = 10
CUP = (10.0, 10.0, 40.0, 40.0)
ELSEWHERE = (60.0, 60.0, 90.0, 90.0)


def thing(box: tuple[float, ...], label: str = "cup", score: float = 0.9) -> Any:
    return asking.Ask(0, label, score, box)


def hand(box: tuple[float, ...], obj_id: int = 2) -> Any:
    return asking.Ask(obj_id, "right hand", 0.9, box)


def new(**by_frame: Any) -> Any:
    given = {"hands": {}, "detections": {}, "prompts": {}, **by_frame}
    return asking.Asking(EVERY, 0.5, 3, **given)


def followed(state: Any, frames: range, seen: dict[int, tuple[float, ...]]) -> dict[int, list[int]]:
    """The ids that were asked for, by frame, when the model sees things at these places all the time."""
    asked: dict[int, list[int]] = {}
    for frame in frames:
        asked[frame] = [ask.obj_id for ask in state.asks(frame)]
        for obj_id in state.followed:
            state.saw(frame, obj_id, seen.get(obj_id, CUP))
    return {frame: ids for frame, ids in asked.items() if ids}


def test_a_detected_thing_is_shown_again_under_its_id() -> None:
    state = new(detections={frame: [thing(CUP)] for frame in range(0, 30, 5)})
    assert followed(state, range(30), {3: CUP}) == {0: [3], 10: [3], 20: [3]}
    assert state.label(3) == "cup"


def test_the_name_is_that_of_the_first_box_and_a_box_elsewhere_is_another_thing() -> None:
    state = new(detections={0: [thing(CUP)], 10: [thing(CUP, "mug"), thing(ELSEWHERE)]})
    assert followed(state, range(12), {3: CUP, 4: ELSEWHERE}) == {0: [3], 10: [3, 4]}
    assert [state.label(obj_id) for obj_id in (3, 4)] == ["cup", "cup"]


def test_two_boxes_of_one_frame_are_two_things_and_the_surest_come_first() -> None:
    boxes = [thing(CUP, score=0.4), thing((12.0, 12.0, 42.0, 42.0), score=0.8), thing(ELSEWHERE, score=0.6)]
    state = new(detections={0: boxes, 1: [thing((0.0, 80.0, 9.0, 99.0))]})
    assert [(ask.obj_id, ask.score) for ask in state.asks(0)] == [(3, 0.8), (4, 0.6), (5, 0.4)]
    assert state.asks(1) == []
    assert state.left_out == 1, "no more than three are followed"


def test_what_is_out_of_sight_comes_back_under_its_id_where_it_was() -> None:
    state = new(detections={0: [thing(CUP)], 20: [thing(CUP)]})
    assert [ask.obj_id for ask in state.asks(0)] == [3]
    state.saw(0, 3, CUP)
    assert [ask.obj_id for frame in range(1, 21) for ask in state.asks(frame)] == [3]


def test_a_hand_is_shown_when_it_comes_is_lost_strayed_or_due() -> None:
    state = new(hands={frame: [hand(CUP)] for frame in range(30)})
    asked: list[int] = []
    for frame in range(25):
        asked += [frame for _ in state.asks(frame)]
        if frame != 4:  # not seen in this one
            state.saw(frame, 2, ELSEWHERE if frame == 7 else CUP)
    assert asked == [0, 5, 8, 18]


def test_a_person_s_object_keeps_one_id_in_all_frames_and_wins_over_a_detection() -> None:
    shown = [Prompt(frame, "cup", "cup 1", CUP, ((20.0, 20.0),), ((99.0, 99.0),)) for frame in (2, 9)]
    other = Prompt(9, "cup", "cup 2", ELSEWHERE)
    state = new(
        detections={frame: [thing(CUP, "bottle")] for frame in (2, 9)}, prompts={2: shown[:1], 9: [shown[1], other]}
    )
    assert followed(state, range(12), {3: CUP, 4: ELSEWHERE}) == {2: [3], 9: [3, 4]}
    assert state.label(3) == "cup"
    assert new(prompts={0: shown[:1]}).asks(0)[0].outside == ((99.0, 99.0),)
    by_point = Prompt(0, "cup", "cup", None, ((20.0, 20.0),))
    detected = {0: [thing(CUP), thing(ELSEWHERE)]}
    assert [ask.obj_id for ask in new(detections=detected, prompts={0: [by_point]}).asks(0)] == [3, 4]


@given(st.lists(st.lists(st.tuples(*[st.integers(0, 60)] * 2, st.floats(0.1, 1)), max_size=4), min_size=1, max_size=20))
def test_ids_are_never_doubled_nor_reused(frames: list[list[tuple[int, int, float]]]) -> None:
    detections = {
        frame: [thing((float(x), float(y), x + 30.0, y + 30.0), score=score) for x, y, score in boxes]
        for frame, boxes in enumerate(frames)
    }
    state, known = new(detections=detections), set[int]()
    for frame in range(len(frames)):
        asks = state.asks(frame)
        ids = [ask.obj_id for ask in asks]
        assert len(ids) == len(set(ids))
        assert set(state.followed) >= known, "what has an id keeps it"
        assert all(obj_id in known or obj_id > max(known, default=0) for obj_id in ids)
        known = set(state.followed)
        for ask in asks:
            state.saw(frame, ask.obj_id, ask.box)
    assert known <= {3, 4, 5}


@pytest.mark.parametrize(("side", "obj_id"), [("left", 1), ("right", 2)])
def test_a_hand_is_asked_for_by_its_box_and_its_knuckles_in_the_picture(side: str, obj_id: int) -> None:
    joints = np.stack([np.linspace(20, 60, 21), np.linspace(-10, 50, 21)], axis=1)
    row = {"frame": 5, "side": side, "score": 0.7, "keypoints_2d": joints.reshape(-1).tolist()}
    frame, ask = asking.hand_ask(row, 100, 80)
    assert (frame, ask.obj_id, ask.label, ask.score) == (5, obj_id, f"{side} hand", 0.7)
    assert len(ask.inside) == 3
    assert ask.box[0] < 20 < 60 < ask.box[2]
    assert ask.box[1] == 0
    away = row | {"keypoints_2d": (joints + 500).reshape(-1).tolist()}
    assert asking.hand_ask(away, 100, 80) is None
