"""Times of frames from timestamps of which some cannot be meant."""

from __future__ import annotations

import numpy as np
import pytest

from egoworld_runner.timing import MISSING, Timing

TRUE = np.cumsum(np.array([40, 40, 20, 60] * 15))


def of(ticks: np.ndarray, rate: float = 10.0) -> Timing:
    return Timing.of(ticks, 0.001, rate)


@pytest.mark.parametrize(
    "wrong",
    [{30: MISSING}, {30: TRUE[29]}, {30: TRUE[29], 31: TRUE[29]}, {30: 5}, {30: 10**9}, {59: 3}, {10: 0, 40: MISSING}],
)
def test_wrong_timestamps_cost_no_other(wrong: dict[int, int]) -> None:
    ticks = TRUE.copy()
    ticks[list(wrong)] = list(wrong.values())
    timing = of(ticks)
    right = np.setdiff1d(np.arange(60), list(wrong))
    np.testing.assert_allclose(timing.time_s[right], (TRUE[right] - TRUE[0]) / 1000, atol=1e-9)
    assert np.all(np.diff(timing.time_s) > 0)
    assert timing.stamped
    assert not timing.restart.any()


def test_every_second_timestamp_may_repeat() -> None:
    timing = of(np.repeat(np.arange(30) * 80, 2))
    np.testing.assert_allclose(np.diff(timing.time_s), 0.04)


@pytest.mark.parametrize("second", [TRUE - 1000, TRUE + 10 * 86_400_000])
def test_another_clock_goes_on_by_a_usual_step(second: np.ndarray) -> None:
    timing = of(np.concatenate([TRUE, second]))
    assert np.flatnonzero(timing.restart).tolist() == [60]
    np.testing.assert_allclose(np.diff(timing.time_s[60:]), np.diff(TRUE) / 1000)
    assert timing.time_s[60] - timing.time_s[59] == pytest.approx(0.04)


def test_a_pause_is_kept() -> None:
    timing = of(np.concatenate([TRUE, TRUE + 3 * 3_600_000]))
    assert timing.time_s[60] - timing.time_s[59] > 3 * 3600 - 3
    assert not timing.restart.any()


@pytest.mark.parametrize("ticks", [np.full(20, MISSING), np.zeros(20, np.int64), np.arange(20)[::-1].copy()])
def test_a_rate_stands_for_timestamps_that_cannot_be_meant(ticks: np.ndarray) -> None:
    timing = of(ticks)
    np.testing.assert_allclose(timing.time_s, np.arange(20) / 10)
    assert not timing.stamped
