"""The stages videos and clips as a process: facts of files, refusals, and cuts where they are."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import av
import numpy as np
import pytest

from egoworld_runner import FrameIndex
from made_stages import rows, run_stage
from made_videos import counting, make_video, numbered, sound_only, turned


def test_a_file_is_described_and_indexed(tmp_path: Path) -> None:
    times = [0, 40, 80, 200, 240, 280, 320, 360]
    flat = counting(tmp_path / "flat.mp4", 8, times, bf="2")
    path = turned(tmp_path / "tall.mp4", flat, 1)
    run_stage("videos", {"tall": path}, tmp_path)
    (row,) = rows(tmp_path, "tall", "videos")
    assert row["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (row["width"], row["height"], row["rotation"] in (90, 270)) == (48, 64, True)
    assert (row["frames"], row["codec"], row["pix_fmt"]) == (8, "h264", "yuv420p")
    assert row["bytes"] == path.stat().st_size
    assert row["variable_frame_rate"]
    assert row["fps"] == pytest.approx(7 / 0.36)
    index = FrameIndex.read(tmp_path / "tall" / "whole" / "frames.parquet")
    np.testing.assert_allclose(index.time_s, np.array(times) / 1000, atol=1e-9)


@pytest.mark.parametrize(
    ("facts", "name", "focal"),
    [
        (
            {
                "com.apple.quicktime.make": "Apple",
                "com.apple.quicktime.model": "iPhone 14 Pro",
                "com.apple.quicktime.camera.focal_length.35mm_equivalent": "24",
            },
            "Apple iPhone 14 Pro",
            24.0,
        ),
        ({"com.android.manufacturer": "Google", "com.android.model": "Pixel 8"}, "Google Pixel 8", None),
        ({"make": "Canon", "model": "Canon EOS R5"}, "Canon EOS R5", None),
        ({}, "", None),
    ],
)
def test_a_camera_is_named_as_its_files_name_it(
    tmp_path: Path, facts: dict[str, str], name: str, focal: float | None
) -> None:
    path = tmp_path / "clip.mov"
    with av.open(str(path), "w", options={"movflags": "use_metadata_tags"}) as container:
        container.metadata.update(facts)
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(8):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(numbered(number), format="rgb24")))
        container.mux(stream.encode(None))
    run_stage("videos", {"clip": path}, tmp_path)
    (row,) = rows(tmp_path, "clip", "videos")
    assert (row["camera"], row["focal_35mm"]) == (name, focal)


def test_deep_odd_and_bad_files_in_one_batch(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 255, (40, 48, 64, 3), dtype=np.uint8)
    broken = bytearray(make_video(tmp_path / "good.mov", list(pictures), None, "png", "rgb24").read_bytes())
    broken[20_000:100_000:50] = bytes(1600)
    (tmp_path / "scratched.mov").write_bytes(broken)
    broken[100_000:250_000:50] = bytes(3000)
    (tmp_path / "broken.mov").write_bytes(broken)
    (tmp_path / "empty.mp4").touch()
    videos = {
        "deep": make_video(tmp_path / "deep.mkv", [numbered(n) for n in range(4)], None, "libx265", "yuv420p10le"),
        "odd": make_video(tmp_path / "odd.mkv", [numbered(n, 67, 45) for n in range(4)], None, "ffv1", "yuv444p"),
        "one": counting(tmp_path / "one.mp4", 1),
        "empty": tmp_path / "empty.mp4",
        "sound": sound_only(tmp_path / "sound.mp4"),
        "broken": tmp_path / "broken.mov",
        "scratched": tmp_path / "scratched.mov",
        "good": tmp_path / "good.mov",
    }
    reports = run_stage("videos", videos, tmp_path)
    states = {name: report["state"] for name, report in reports.items()}
    bad = {"one", "empty", "sound", "broken"}
    assert states == {name: "failed" if name in bad else "done" for name in videos}
    assert reports["one"]["reason"].startswith("one.mp4: only 1 frame, at least 2 are needed")
    assert "no video stream, only audio" in reports["sound"]["reason"]
    assert "pictures are damaged (" in reports["broken"]["reason"]
    assert rows(tmp_path, "scratched", "videos")[0]["corrupt_packets"] > 0
    assert all(reports[name]["reason"].startswith(f"{videos[name].name}: ") for name in bad)
    assert rows(tmp_path, "deep", "videos")[0]["pix_fmt"] == "yuv420p10le"
    assert (rows(tmp_path, "odd", "videos")[0]["width"], rows(tmp_path, "odd", "videos")[0]["height"]) == (67, 45)


def shots(lengths: list[int], size: tuple[int, int] = (96, 64)) -> list[np.ndarray]:
    """Drifting noise, another noise in every shot."""
    pictures: list[np.ndarray] = []
    for number, length in enumerate(lengths):
        rng = np.random.default_rng(number)
        coarse = rng.integers(0, 255, (8, 30, 3), dtype=np.uint8)
        wide = np.kron(coarse, np.ones((size[1] // 8, size[0] // 8, 1), np.uint8))
        pictures += [wide[:, n : n + size[0]] for n in range(length)]
    return pictures


def spans(folder: Path, name: str) -> list[tuple[int, int, int]]:
    return [(row["start_frame"], row["end_frame"], row["shot"]) for row in rows(folder, name, "clips")]


def test_cuts_are_exact_with_a_variable_frame_rate(tmp_path: Path) -> None:
    lengths = [20, 33, 9, 40]
    times = np.cumsum([0, *np.random.default_rng(0).integers(10, 120, sum(lengths) - 1)]).tolist()
    path = make_video(tmp_path / "v.mp4", shots(lengths), times, options={"bf": "2"})
    run_stage("clips", {"v": path}, tmp_path)
    assert spans(tmp_path, "v") == [(0, 20, 0), (20, 53, 1), (53, 62, 2), (62, 102, 3)]
    found = rows(tmp_path, "v", "clips")
    assert [row["start_s"] for row in found] == [times[n] / 1000 for n in (0, 20, 53, 62)]
    assert [row["end_s"] for row in found[:-1]] == [row["start_s"] for row in found[1:]]
    assert len({row["clip_id"] for row in found}) == 4
    assert found[0]["score"] == 0
    assert all(row["score"] >= 3 for row in found[1:])


def test_a_long_shot_is_split_evenly_and_a_short_rest_left_out(tmp_path: Path) -> None:
    path = make_video(tmp_path / "v.mp4", shots([50, 5]))
    reports = run_stage("clips", {"v": path}, tmp_path, max_clip_s=0.6)
    assert spans(tmp_path, "v") == [(0, 12, 0), (12, 25, 0), (25, 37, 0), (37, 50, 0)]
    assert reports["v"]["notes"] == {"takes": 1, "shots": 1, "clips": 4, "frames_left_out": 5}


def test_a_still_video_is_one_clip(tmp_path: Path) -> None:
    run_stage("clips", {"v": make_video(tmp_path / "v.mp4", [numbered(9)] * 4)}, tmp_path)
    assert spans(tmp_path, "v") == [(0, 4, 0)]


@pytest.mark.parametrize("name", ["counter.mp4", "fades.mp4"])
def test_cuts_are_those_that_pyscenedetect_expects_of_its_own_videos(
    tmp_path: Path, shared_data: Path, name: str
) -> None:
    resources = shared_data / "PySceneDetect" / "tests" / "resources"
    golden = json.loads((resources / "goldens" / f"{name}.AdaptiveDetector.default.json").read_text())["cuts"]
    run_stage("clips", {"v": resources / name}, tmp_path, min_shot_frames=15)
    found = spans(tmp_path, "v")
    frames = len(FrameIndex.scan(resources / name))
    assert sorted({end for _, end, _ in found} - {frames}) == golden
