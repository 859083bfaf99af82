"""One take is one clip: repeated pictures, flashes and changes of the light are no cuts, and real cuts stay exact."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from made_stages import rows, run_stage
from made_videos import make_video
from tests.made_cameras import filmed

CLEAR = {"crf": "16"}


def clips(folder: Path, videos: dict[str, Path]) -> dict[str, list[tuple[int, int]]]:
    reports = run_stage("clips", videos, folder)
    assert {name: report.get("reason", "") for name, report in reports.items()} == dict.fromkeys(videos, "")
    return {name: [(row["start_frame"], row["end_frame"]) for row in rows(folder, name, "clips")] for name in videos}


def test_repeated_pictures_do_not_cut_a_take(tmp_path: Path) -> None:
    """Low light: each picture comes several times, evenly or by turns two and three times as 24 in 60 a second."""
    by_turns = [n for n in range(30) for _ in range(2 + n % 2)]
    shown = {str(k): [n for n in range(24) for _ in range(k)] for k in (2, 3, 4, 6)} | {"by turns": by_turns}
    videos = {
        name: make_video(tmp_path / f"{name}.mp4", [filmed(n, step=8) for n in numbers], options=CLEAR)
        for name, numbers in shown.items()
    }
    assert clips(tmp_path, videos) == {name: [(0, len(numbers))] for name, numbers in shown.items()}


@pytest.mark.parametrize("times", [1, 3])
def test_a_cut_between_repeated_pictures_is_found(tmp_path: Path, times: int) -> None:
    pictures = [filmed(n, shot=n // 15) for n in range(30) for _ in range(times)]
    path = make_video(tmp_path / "v.mp4", pictures, options=CLEAR)
    assert clips(tmp_path, {"v": path}) == {"v": [(0, 15 * times), (15 * times, 30 * times)]}


def test_a_flash_is_no_cut(tmp_path: Path) -> None:
    pictures = [filmed(n) for n in range(80)]
    videos: dict[str, Path] = {}
    for level in (3, 252):
        for length in (1, 2, 4):
            flash: list[NDArray[np.uint8]] = [*pictures]
            flash[40 : 40 + length] = [np.full_like(pictures[0], level)] * length
            videos[f"{level}-{length}"] = make_video(tmp_path / f"{level}-{length}.mp4", flash, options=CLEAR)
    assert clips(tmp_path, videos) == {name: [(0, 80)] for name in videos}


def test_a_step_of_exposure_is_no_cut(tmp_path: Path) -> None:
    gains = {
        "up": np.where(np.arange(80) < 40, 0.45, 1.0),
        "down": np.where(np.arange(80) < 33, 1.0, 0.4),
        "slow": np.clip(0.4 + 0.2 * (np.arange(80) - 40), 0.4, 1.0),
    }
    videos = {
        name: make_video(
            tmp_path / f"{name}.mp4", [(filmed(n) * gain[n]).astype(np.uint8) for n in range(80)], options=CLEAR
        )
        for name, gain in gains.items()
    }
    assert clips(tmp_path, videos) == {name: [(0, 80)] for name in videos}


def test_a_cut_of_dark_still_pictures_is_found_where_it_is(tmp_path: Path) -> None:
    """The jump of colours at a seek point of a dark flat picture is not a cut."""
    rng = np.random.default_rng(0)
    dark = [rng.integers(6, 14, (64, 96, 3), dtype=np.uint8) for _ in range(2)]
    pictures = [dark[0]] * 15 + [dark[0] + np.uint8(90)] * 15
    path = make_video(tmp_path / "v.mp4", pictures, options={"g": "6", "crf": "40"})
    assert clips(tmp_path, {"v": path}) == {"v": [(0, 15), (15, 30)]}
