"""A file that plays is served as it plays; one that lacks what it promises is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from egoworld_runner import FrameIndex
from egoworld_runner.video import frames
from made_stages import rows, run_stage
from made_videos import counting, make_video, number_in, numbered
from tests.made_cameras import copied, edited, first_bytes, webcam, with_sound


def numbers(folder: Path, name: str, path: Path) -> list[int]:
    """The numbers that all frames of a probed video carry; decoding from every fifth on gives the same."""
    index = FrameIndex.read(folder / name / "whole" / "frames.parquet")
    found = [number_in(frame.rgb) for frame in frames(path, index, 0, len(index))]
    for start in range(0, len(index), 5):
        assert number_in(next(frames(path, index, start, len(index))).rgb) == found[start]
    return found


def probed(folder: Path, videos: dict[str, Path]) -> dict[str, dict[str, Any]]:
    """The reports of videos that are all served."""
    reports = run_stage("videos", videos, folder)
    assert {name: report.get("reason", report["state"]) for name, report in reports.items()} == dict.fromkeys(
        videos, "done"
    )
    return reports


SHOWN = {
    "the start trimmed": ([(1000, 1400)], [*range(25, 60)]),
    "both ends trimmed": ([(480, 960)], [*range(12, 36)]),
    "the middle cut out": ([(0, 400), (1600, 800)], [*range(10), *range(40, 60)]),
    "three pieces": ([(0, 200), (800, 200), (2000, 400)], [*range(5), *range(20, 25), *range(50, 60)]),
    "begins later": ([(-1, 500), (0, 2400)], [*range(60)]),
}


@pytest.mark.parametrize("reordered", ["0", "2"])
def test_an_edit_list_shows_what_it_names(tmp_path: Path, reordered: str) -> None:
    """Frames that it hides are not missing, between two seek points and with pictures out of order too."""
    flat = counting(tmp_path / "flat.mp4", 60, g="20", bf=reordered, sc_threshold="0")
    late = 80 if reordered != "0" else 0  # ms that the first picture waits for those that come out of order
    videos = {
        name: edited(tmp_path / f"{name}.mp4", flat, [(first + late if first >= 0 else first, n) for first, n in edits])
        for name, (edits, _) in SHOWN.items()
    }
    probed(tmp_path, videos)
    assert {name: numbers(tmp_path, name, path) for name, path in videos.items()} == {
        name: shown for name, (_, shown) in SHOWN.items()
    }


@pytest.mark.parametrize("share", [0.3, 0.6])
def test_empty_blocks_of_an_avi_file_are_not_missing(tmp_path: Path, share: float) -> None:
    """A webcam's AVI says of every slot without a picture that it is empty; a file that ends early is refused."""
    kept = [n for n in range(60) if n % 10 >= 10 * share or n in (0, 59)]
    avi = webcam(tmp_path / "v.avi", kept)
    cut = first_bytes(tmp_path / "cut.avi", avi, 0.6)
    reports = run_stage("videos", {"v": avi, "cut": cut}, tmp_path)
    assert reports["v"]["state"] == "done", reports["v"]
    assert numbers(tmp_path, "v", avi) == kept
    index = FrameIndex.read(tmp_path / "v" / "whole" / "frames.parquet")
    np.testing.assert_allclose(index.time_s, (np.array(kept) - kept[0]) * 0.04, atol=1e-9)
    assert "cut off, only" in reports["cut"]["reason"]


FRAGMENTS = {"movflags": "frag_keyframe+delay_moov"}


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov", ".ts", ".fragments.mp4"])
@pytest.mark.parametrize(("first_ms", "sound_ms"), [(0, 9000), (4000, 6000), (6000, 3000)])
def test_sound_may_begin_earlier_and_last_longer(tmp_path: Path, suffix: str, first_ms: int, sound_ms: int) -> None:
    options = FRAGMENTS if suffix.startswith(".frag") else None
    path = with_sound(tmp_path / f"v{suffix}", 50, first_ms, sound_ms, options)
    probed(tmp_path, {"v": path})
    assert numbers(tmp_path, "v", path) == list(range(50))
    (row,) = rows(tmp_path, "v", "videos")
    assert row["duration_s"] == pytest.approx(2.0, abs=0.002)


def test_time_may_count_from_1970(tmp_path: Path) -> None:
    times = [1_700_000_000_000 + 40 * n for n in range(100)]
    path = counting(tmp_path / "v.mkv", 100, times, g="10")
    cut = first_bytes(tmp_path / "cut.mkv", path, 0.5)
    reports = run_stage("videos", {"v": path, "cut": cut}, tmp_path)
    assert reports["v"]["state"] == "done", reports["v"]
    assert rows(tmp_path, "v", "videos")[0]["duration_s"] == pytest.approx(4.0, abs=0.002)
    assert "cut off, only" in reports["cut"]["reason"]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
@pytest.mark.parametrize("dropped", [7, 19, 30])
def test_a_stream_may_begin_between_its_seek_points(tmp_path: Path, suffix: str, dropped: int) -> None:
    """A live recording that begins in the middle: what comes before the first whole picture cannot be decoded."""
    source = counting(tmp_path / "source.mp4", 80, g="20", bf="0", sc_threshold="0")
    path = copied(tmp_path / f"v{suffix}", source, lambda number, _: number >= dropped)
    probed(tmp_path, {"v": path})
    assert numbers(tmp_path, "v", path) == list(range(20 if dropped < 20 else 40, 80))


def test_hevc_cut_at_an_open_group_of_pictures(tmp_path: Path) -> None:
    """Its leading pictures refer to pictures that were cut away; no player shows them."""
    options = {"x265-params": "log-level=error:keyint=20:min-keyint=20:open-gop=1:bframes=3:scenecut=0"}
    source = make_video(tmp_path / "source.mp4", [numbered(n) for n in range(80)], None, "libx265", options=options)
    keys: list[int] = []

    def from_the_second_key(number: int, packet: Any) -> bool:
        keys.extend([number] * packet.is_keyframe)
        return len(keys) > 1

    path = copied(tmp_path / "v.mp4", source, from_the_second_key)
    probed(tmp_path, {"v": path})
    found = numbers(tmp_path, "v", path)
    assert found == list(range(found[0], 80))
    assert found[0] <= 20


@pytest.mark.parametrize("share", [0.5, 0.8])
def test_a_recorder_that_lost_power_leaves_what_it_wrote(tmp_path: Path, share: float) -> None:
    """Fragments of MP4 promise themselves alone: what was filmed is served, up to the cut."""
    source = counting(tmp_path / "source.mp4", 200, g="10", bf="0", sc_threshold="0")
    whole = copied(tmp_path / "whole.mp4", source, lambda *_: True, **FRAGMENTS)
    path = first_bytes(tmp_path / "v.mp4", whole, share)
    probed(tmp_path, {"v": path})
    found = numbers(tmp_path, "v", path)
    assert found == list(range(len(found)))
    assert len(found) == pytest.approx(200 * share, rel=0.25)


def test_a_file_that_lacks_what_its_index_names_is_refused(tmp_path: Path) -> None:
    source = counting(tmp_path / "source.mp4", 80, g="20")
    first = copied(tmp_path / "first.mp4", source, lambda *_: True, movflags="faststart")
    hidden = edited(tmp_path / "hidden.mp4", source, [(0, 1200)])
    cut = first_bytes(tmp_path / "cut.mp4", first, 0.8)
    reports = run_stage("videos", {"whole": first, "hidden": hidden, "cut": cut}, tmp_path)
    assert {name: report["state"] for name, report in reports.items()} == {
        "whole": "done", "hidden": "done", "cut": "failed"
    }  # fmt: skip
    assert "of 80 frames are in it" in reports["cut"]["reason"]
