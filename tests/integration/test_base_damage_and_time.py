"""Damaged pictures, pauses and wrong timestamps: what was filmed is served, the rest is known and left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from egoworld_runner import FrameIndex
from egoworld_runner.video import frames
from made_stages import rows, run_stage
from made_videos import make_video, number_in, numbered
from tests.made_cameras import copied, filmed, number_on_top, spoiled

LENGTH, KEYS = 100, 20


def served(folder: Path, path: Path, **params: Any) -> tuple[FrameIndex, list[tuple[int, int]]]:
    """The index and the clips of a video."""
    reports = run_stage("videos", {"v": path}, folder)
    assert reports["v"]["state"] == "done", reports["v"]
    (folder / "cut").mkdir()
    reports = run_stage("clips", {"v": path}, folder / "cut", **params)
    assert reports["v"]["state"] == "done", reports["v"]
    found = [(row["start_frame"], row["end_frame"]) for row in rows(folder / "cut", "v", "clips")]
    return FrameIndex.read(folder / "v" / "whole" / "frames.parquet"), found


H264 = {"g": str(KEYS), "sc_threshold": "0", "crf": "18"}
KINDS = {
    "h264.mp4": ("libx264", "yuv420p", {**H264, "bf": "0"}),
    "reordered.mkv": ("libx264", "yuv420p", {**H264, "bf": "3"}),
    "slices.mov": ("libx264", "yuv420p", {**H264, "bf": "0", "x264-params": "slices=3"}),
    "mpeg4.avi": ("mpeg4", "yuv420p", {"g": str(KEYS), "q": "4"}),
    "mjpeg.mkv": ("mjpeg", "yuvj420p", {}),
}


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_damaged_pictures_and_what_rests_on_them_are_known_and_left_out(tmp_path: Path, kind: str, zeros: bool) -> None:
    codec, pix_fmt, options = KINDS[kind]
    pictures = [filmed(n) for n in range(LENGTH)]
    sound = make_video(tmp_path / kind, pictures, None, codec, pix_fmt, options)
    path = spoiled(tmp_path / f"spoiled {kind}", sound, range(45, 52), zeros=zeros)
    index, found = served(tmp_path, path)
    whole = FrameIndex.scan(sound)
    assert whole.sound
    assert not index.sound
    right = [frame.rgb for frame in frames(sound, whole, 0, LENGTH)]
    at = np.searchsorted(whole.time_s, index.time_s - 1e-3)
    unlike = [
        n
        for n, frame in enumerate(frames(path, index, 0, len(index)))
        if np.abs(frame.rgb.astype(int) - right[at[n]]).mean() > 1
    ]
    assert set(unlike) <= set(np.flatnonzero(index.damaged))
    lost = LENGTH - len(index)
    assert index.damaged.sum() + lost <= KEYS  # no more than from the first damaged packet to the next seek point
    assert found[0][0] == 0
    assert found[-1][1] == len(index)
    assert len(found) == 2
    for start, end in found:
        assert not index.damaged[start:end].any()
        served_numbers = [number_on_top(frame.rgb) for frame in frames(path, index, start, end)]
        assert served_numbers == [number_on_top(right[n]) for n in at[start:end]]
        assert np.diff(at[start:end]).max() == 1


@pytest.mark.parametrize("checksums", ["1", "0"])
def test_a_wrong_checksum_of_ffv1_is_damage(tmp_path: Path, checksums: str) -> None:
    """Its decoder hides such slices without a word; where a file has no checksums nothing can be known."""
    options = {"level": "3", "slicecrc": checksums, "g": str(KEYS)}
    sound = make_video(tmp_path / "sound.mkv", [filmed(n) for n in range(LENGTH)], None, "ffv1", "yuv420p", options)
    assert FrameIndex.scan(sound).sound
    path = spoiled(tmp_path / "spoiled.mkv", sound, [47], most=8)
    index = FrameIndex.scan(path)
    right = [frame.rgb for frame in frames(sound, FrameIndex.scan(sound), 0, LENGTH)]
    unlike = [n for n, frame in enumerate(frames(path, index, 0, LENGTH)) if (frame.rgb != right[n]).any()]
    assert unlike[0] == 47
    expected = range(47, 60) if checksums == "1" else ()
    np.testing.assert_array_equal(np.flatnonzero(index.damaged), expected)


def test_damage_gives_the_same_bytes_each_time(tmp_path: Path) -> None:
    """Also for one who reads damaged frames, and however many threads there are for sound files."""
    pictures = [filmed(n, width=640, height=480, step=1) for n in range(LENGTH)]
    path = spoiled(
        tmp_path / "v.mp4",
        make_video(tmp_path / "sound.mp4", pictures, options={**H264, "bf": "2"}),
        range(30, 60, 4),
    )
    index = FrameIndex.scan(path)
    again = FrameIndex.scan(path)
    np.testing.assert_array_equal(index.damaged, again.damaged)
    first = [frame.rgb.tobytes() for frame in frames(path, index, 0, len(index))]
    for _ in range(3):
        assert [frame.rgb.tobytes() for frame in frames(path, index, 0, len(index))] == first
    start = int(np.flatnonzero(index.damaged)[0])
    assert next(frames(path, index, start, len(index))).rgb.tobytes() == first[start]


def test_a_stream_without_key_frames_is_sound(tmp_path: Path) -> None:
    options = {"x264-params": "intra-refresh=1:keyint=25:bframes=0:scenecut=0"}
    path = make_video(tmp_path / "v.ts", [filmed(n) for n in range(80)], options=options)
    index, found = served(tmp_path, path)
    assert index.sound
    assert found == [(0, 80)]
    for start in range(0, 80, 9):
        assert number_on_top(next(frames(path, index, start, 80)).rgb) == start


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
@pytest.mark.parametrize("pause_s", [0.7, 45.0, 7200.0])
def test_a_pause_ends_a_clip(tmp_path: Path, suffix: str, pause_s: float) -> None:
    """Nothing was filmed meanwhile: no clip spans it, and the last picture before it is not held."""
    times = [40 * n + (int(1000 * pause_s) if n >= 30 else 0) for n in range(70)]
    path = make_video(tmp_path / f"v{suffix}", [filmed(n) for n in range(70)], times)
    index, found = served(tmp_path, path)
    assert found == [(0, 30), (30, 70)]
    assert index.fps == pytest.approx(25, abs=0.01)
    first, second = rows(tmp_path / "cut", "v", "clips")
    assert first["end_s"] == pytest.approx(1.2, abs=0.002)
    assert second["start_s"] == pytest.approx(1.2 + pause_s, abs=0.002)
    assert rows(tmp_path, "v", "videos")[0]["fps"] == pytest.approx(25, abs=0.01)


@pytest.mark.parametrize("repeated", [[30], [20, 21, 50], [69]])
def test_a_repeated_timestamp_costs_no_other(tmp_path: Path, repeated: list[int]) -> None:
    steps = np.array([20, 40, 40, 80, 15, 160])[np.arange(69) % 6]
    true = np.concatenate([[0], np.cumsum(steps)])
    times = true.copy()
    for frame in repeated:
        times[frame] = times[frame - 1]
    good = make_video(tmp_path / "good.mkv", [numbered(n) for n in range(70)], true.tolist(), "mjpeg", "yuvj420p")
    stamps = iter(times.tolist())

    def stamped(_: int, packet: Any) -> bool:
        packet.pts = packet.dts = next(stamps)
        return True

    path = copied(tmp_path / "v.mkv", good, stamped)
    run_stage("videos", {"v": path}, tmp_path)
    index = FrameIndex.read(tmp_path / "v" / "whole" / "frames.parquet")
    right = np.setdiff1d(np.arange(70), repeated)
    np.testing.assert_allclose(index.time_s[right], true[right] / 1000, atol=0.0015)
    assert np.all(np.diff(index.time_s) > 0)
    assert index.timing == "stamps"
    for start in (0, 19, 20, 21, 30, 41, 69):
        assert number_in(next(frames(path, index, start, 70)).rgb) == start


def test_recordings_joined_byte_by_byte_are_two_takes(tmp_path: Path) -> None:
    """Their clock begins again: all frames are served, in time, and no clip spans the place."""
    parts = [
        make_video(tmp_path / f"{k}.ts", [filmed(n) for n in range(k, k + 50)], options={"g": "10", "bf": "2"})
        for k in (0, 50)
    ]
    path = tmp_path / "v.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    index, found = served(tmp_path, path)
    assert found == [(0, 50), (50, 100)]
    assert index.sound
    np.testing.assert_allclose(index.time_s, np.arange(100) * 0.04, atol=0.001)
    assert [number_on_top(frame.rgb) for frame in frames(path, index, 44, 56)] == list(range(44, 56))


def test_a_timelapse_is_refused_and_says_so(tmp_path: Path) -> None:
    path = make_video(tmp_path / "v.mkv", [filmed(n) for n in range(40)], [n * 5000 for n in range(40)])
    assert run_stage("videos", {"v": path}, tmp_path)["v"]["state"] == "done"
    (tmp_path / "cut").mkdir()
    report = run_stage("clips", {"v": path}, tmp_path / "cut")["v"]
    assert report["state"] == "failed"
    assert "5.0 s apart; give a video, not a timelapse" in report["reason"]


def test_a_rate_that_stands_for_timestamps_is_named(tmp_path: Path) -> None:
    pictures = [filmed(n) for n in range(30)]
    videos = {
        "stamps": make_video(tmp_path / "a.mp4", pictures),
        "rate": make_video(tmp_path / "b.avi", pictures, codec="mpeg4"),
        "assumed": make_video(tmp_path / "c.mjpeg", pictures, None, "mjpeg", "yuvj420p"),
    }
    run_stage("videos", videos, tmp_path)
    assert {name: rows(tmp_path, name, "videos")[0]["timing"] for name in videos} == {n: n for n in videos}
