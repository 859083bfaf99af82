"""A path that is noise trembles; a head that moves does not, nor does one that rests."""

from __future__ import annotations

import numpy as np

from egoworld_runner.camera_paths import MIN_STEPS, MOST_TREMBLE, tremble


def test_noise_about_one_place_trembles_and_a_moving_head_does_not() -> None:
    noise = np.random.default_rng(3).normal(0, 0.01, (60, 3))
    u = np.linspace(0, 4, 60)
    head = np.stack([0.3 * np.sin(u), 0.1 * np.cos(2 * u), 0.05 * u], axis=1)
    assert tremble(noise) > 1.5 * MOST_TREMBLE
    assert tremble(head) < MOST_TREMBLE / 2


def test_what_does_not_move_and_what_is_short_does_not_tremble() -> None:
    assert tremble(np.zeros((60, 3))) == 0.0
    assert tremble(np.random.default_rng(3).normal(size=(MIN_STEPS, 3))) == 0.0
