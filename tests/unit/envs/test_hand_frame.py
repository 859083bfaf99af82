"""The frame at the wrist: the same for every camera, and the mirror image for the other hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from made_clips import env_module

hand_frame = env_module(Path(__file__).parents[3] / "envs" / "dex_retarget" / "hand_frame.py")

RIGHT = np.zeros((21, 3))
"""An open right hand in its wrist frame: fingers along z, index side +y, bent a little to the palm (+x)."""
RIGHT[1:5] = [(0.01, 0.03, 0.02), (0.01, 0.05, 0.05), (0.02, 0.06, 0.08), (0.03, 0.07, 0.11)]
for finger, (y, z) in enumerate([(0.025, 0.095), (0.0, 0.095), (-0.02, 0.09), (-0.035, 0.08)]):
    for joint in range(4):
        RIGHT[5 + 4 * finger + joint] = (0.003 * joint**2 if finger else 0.0, y, z + 0.025 * joint)
RIGHT[5] = (0.0, 0.025, 0.095)
LEFT = RIGHT * hand_frame.MIRROR


@given(st.tuples(*[st.floats(-3, 3)] * 3), st.tuples(*[st.floats(-1, 1)] * 3))
def test_it_does_not_depend_on_the_camera(turn: tuple[float, ...], shift: tuple[float, ...]) -> None:
    seen = Rotation.from_rotvec(turn)
    for side, hand in (("right", RIGHT), ("left", LEFT)):
        found = hand_frame.wrist_aligned(seen.apply(hand) + shift, side)
        np.testing.assert_allclose(found, hand, atol=1e-9)


def test_the_wrong_side_turns_the_palm_inside_out() -> None:
    found = hand_frame.wrist_aligned(RIGHT, "left")
    np.testing.assert_allclose(found, RIGHT * (-1, -1, 1), atol=1e-9)


@pytest.mark.parametrize("hand", [np.zeros((21, 3)), np.linspace(0, 1, 21)[:, None] * [[0.1, 0.2, 0.3]]])
def test_a_hand_without_a_palm_has_no_frame(hand: np.ndarray) -> None:
    assert hand_frame.wrist_aligned(hand, "right") is None
