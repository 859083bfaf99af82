"""Frames come under their own index and time, whatever the file is like."""

from __future__ import annotations

from fractions import Fraction
from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from egoworld_runner import BadVideo, FrameIndex
from egoworld_runner.video import frames
from made_cameras import with_streams
from made_videos import counting, make_video, number_in, numbered, sound_only, turned, with_matrix

LENGTH = 60
STEPS = [20, 40, 40, 80, 15, 160]
TIMES = [0, *accumulate(STEPS[n % len(STEPS)] for n in range(LENGTH - 1))]
KINDS: dict[str, dict[str, str]] = {
    "b_frames": {"g": "12", "bf": "3", "sc_threshold": "0"},
    "open_gop": {"g": "12", "bf": "3", "x264-params": "open-gop=1:scenecut=0"},
    "one_gop": {"g": "250", "bf": "2"},
    "intra": {"g": "1"},
}


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, FrameIndex]]:
    folder = tmp_path_factory.mktemp("videos")
    paths = {kind: counting(folder / f"{kind}.mp4", LENGTH, TIMES, **options) for kind, options in KINDS.items()}
    paths["mkv"] = counting(folder / "b_frames.mkv", LENGTH, TIMES, **KINDS["b_frames"])
    return {kind: (path, FrameIndex.scan(path)) for kind, path in paths.items()}


@pytest.mark.parametrize("kind", [*KINDS, "mkv"])
def test_index_of_a_variable_frame_rate_is_exact(videos: dict[str, tuple[Path, FrameIndex]], kind: str) -> None:
    _, index = videos[kind]
    assert len(index) == LENGTH
    assert index.timing == "stamps"
    assert index.sound
    assert index.variable
    np.testing.assert_allclose(index.time_s, np.array(TIMES) / 1000, atol=1e-9)
    assert index.fps == pytest.approx((LENGTH - 1) / (TIMES[-1] / 1000))


@pytest.mark.parametrize("kind", [*KINDS, "mkv"])
def test_decoding_from_any_frame_equals_decoding_from_the_first(
    videos: dict[str, tuple[Path, FrameIndex]], kind: str
) -> None:
    path, index = videos[kind]
    whole = list(frames(path, index, 0, LENGTH))
    assert [frame.index for frame in whole] == [number_in(frame.rgb) for frame in whole] == list(range(LENGTH))
    for start in range(LENGTH):
        first = next(frames(path, index, start, LENGTH))
        assert (first.index, first.time_s) == (start, whole[start].time_s)
        np.testing.assert_array_equal(first.rgb, whole[start].rgb)


@settings(max_examples=40, deadline=None)
@given(kind=st.sampled_from([*KINDS, "mkv"]), start=st.integers(0, LENGTH - 1), data=st.data())
def test_any_span_and_step_gives_just_its_frames(
    videos: dict[str, tuple[Path, FrameIndex]], kind: str, start: int, data: st.DataObject
) -> None:
    path, index = videos[kind]
    end = data.draw(st.integers(start + 1, LENGTH))
    step = data.draw(st.integers(1, 7))
    found = list(frames(path, index, start, end, step))
    wanted = list(range(start, end, step))
    assert [frame.index for frame in found] == wanted
    assert [number_in(frame.rgb) for frame in found] == wanted
    assert [frame.time_s for frame in found] == [index.time_s[n] for n in wanted]


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_rotation_metadata_is_applied(tmp_path: Path, turns: int) -> None:
    """A red corner that lies top left in the stored picture is shown where the clockwise turn takes it."""
    picture = np.full((48, 64, 3), 60, np.uint8)
    picture[:16, :16] = (220, 20, 20)
    stored = make_video(tmp_path / "stored.mp4", [picture] * 3)
    path = turned(tmp_path / "turned.mp4", stored, turns)
    index = FrameIndex.scan(path)
    frame = next(frames(path, index, 0, 3))
    assert (index.width, index.height) == ((64, 48) if turns % 2 == 0 else (48, 64))
    assert frame.rgb.shape == (index.height, index.width, 3)
    corners = [frame.rgb[4, 4], frame.rgb[4, -5], frame.rgb[-5, -5], frame.rgb[-5, 4]]
    assert [corner[0] > 150 for corner in corners] == [n == turns for n in range(4)]


MATRICES = {
    (1, 0, 0, 1): lambda p: p,
    (0, 1, -1, 0): lambda p: np.rot90(p, -1),
    (-1, 0, 0, -1): lambda p: np.rot90(p, 2),
    (0, -1, 1, 0): lambda p: np.rot90(p),
    (-1, 0, 0, 1): lambda p: p[:, ::-1],
    (1, 0, 0, -1): lambda p: p[::-1],
    (0, 1, 1, 0): lambda p: p.transpose(1, 0, 2),
    (0, -1, -1, 0): lambda p: p[::-1, ::-1].transpose(1, 0, 2),
}


@pytest.mark.parametrize("matrix", MATRICES)
def test_mirrors_and_turns_are_shown_as_a_player_shows_them(tmp_path: Path, matrix: tuple[int, int, int, int]) -> None:
    """A front camera's file is mirrored by its matrix; a right hand that is shown as a left one is another hand."""
    picture = np.full((48, 64, 3), 60, np.uint8)
    picture[:16, :16], picture[:16, -16:] = (220, 20, 20), (20, 20, 220)
    stored = make_video(tmp_path / "stored.mp4", [picture] * 3)
    path = with_matrix(tmp_path / "v.mp4", stored, matrix)
    plain, index = FrameIndex.scan(stored), FrameIndex.scan(path)
    expected = MATRICES[matrix](next(frames(stored, plain, 0, 3)).rgb)
    np.testing.assert_array_equal(next(frames(path, index, 0, 3)).rgb, expected)
    assert (index.height, index.width) == expected.shape[:2]


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize(
    ("shape", "shown"),
    [((4, 3), (128, 96)), ((16, 11), (140, 96)), ((3, 4), (96, 128)), ((2, 1), (192, 96)), ((1001, 1000), (96, 96))],
)
def test_pixels_that_are_not_square_are_widened(
    tmp_path: Path, suffix: str, shape: tuple[int, int], shown: tuple[int, int]
) -> None:
    """Nothing is lost: the shorter side of a pixel grows. A disc that a player shows is as wide as high."""
    y, x = np.mgrid[:96, :96]
    disc = ((x - 47.5) * shown[0] / 96) ** 2 + ((y - 47.5) * shown[1] / 96) ** 2 < 35**2
    picture = np.where(disc[..., None], np.uint8(230), np.uint8(20)).repeat(3, axis=2)
    path = make_video(tmp_path / f"v.{suffix}", [picture] * 4, pixel_shape=Fraction(*shape))
    index = FrameIndex.scan(path)
    rgb = next(frames(path, index, 2, 4)).rgb
    assert (index.width, index.height) == (rgb.shape[1], rgb.shape[0]) == shown
    inside = rgb[..., 1] > 125
    assert int(inside.any(axis=0).sum()) == pytest.approx(70, abs=2)
    assert int(inside.any(axis=1).sum()) == pytest.approx(70, abs=2)


def test_wide_pixels_of_a_turned_video_are_widened_before_it_is_turned(tmp_path: Path) -> None:
    stored = make_video(tmp_path / "s.mp4", [numbered(n, 48, 48) for n in range(4)], pixel_shape=Fraction(4, 3))
    path = turned(tmp_path / "v.mp4", stored, 1)
    index = FrameIndex.scan(path)
    assert (index.width, index.height) == (48, 64)
    assert [number_in(np.rot90(f.rgb)) for f in frames(path, index, 0, 4)] == list(range(4))


STREAMS = {
    "a proxy first": ([(32, 24), (64, 48)], 1, (64, 48)),
    "the default is the smaller one": ([(64, 48), (32, 24)], 1, (32, 24)),
    "no default": ([(32, 24), (96, 72), (64, 48)], None, (96, 72)),
}


@pytest.mark.parametrize(("kind", "suffix"), [*((kind, "mkv") for kind in STREAMS), ("a proxy first", "mp4")])
def test_the_stream_that_players_show_is_read(tmp_path: Path, kind: str, suffix: str) -> None:
    sizes, default, shown = STREAMS[kind]
    path = with_streams(tmp_path / f"v.{suffix}", sizes, default)
    index = FrameIndex.scan(path)
    assert (index.width, index.height) == shown
    assert [number_in(frame.rgb) for frame in frames(path, index, 0, len(index))] == list(range(12))


def test_ten_bit_and_odd_sizes_decode(tmp_path: Path) -> None:
    deep = make_video(tmp_path / "deep.mkv", [numbered(n) for n in range(5)], codec="libx265", pix_fmt="yuv420p10le")
    odd = make_video(tmp_path / "odd.mkv", [numbered(n, 67, 45) for n in range(5)], codec="ffv1", pix_fmt="yuv444p")
    for path, size in ((deep, (64, 48)), (odd, (67, 45))):
        index = FrameIndex.scan(path)
        assert (index.width, index.height) == size
        found = list(frames(path, index, 0, len(index)))
        assert [number_in(frame.rgb) for frame in found] == list(range(5))
        assert all(frame.rgb.shape == (size[1], size[0], 3) and frame.rgb.dtype == np.uint8 for frame in found)


def test_missing_timestamps_count_from_the_start(tmp_path: Path) -> None:
    path = counting(tmp_path / "raw.h264", 20, g="6", bf="2")
    index = FrameIndex.scan(path)
    assert len(index) == 20
    for start in (0, 7, 19):
        assert [number_in(f.rgb) for f in frames(path, index, start, 20)] == list(range(start, 20))


def test_an_index_is_read_as_it_was_written(tmp_path: Path, videos: dict[str, tuple[Path, FrameIndex]]) -> None:
    _, index = videos["b_frames"]
    index.write(tmp_path / "frames.parquet")
    again = FrameIndex.read(tmp_path / "frames.parquet")
    for name in ("pts", "time_s", "key", "damaged", "restart"):
        np.testing.assert_array_equal(getattr(again, name), getattr(index, name))
    for name in ("width", "height", "rotation", "timing", "corrupt_packets", "fps", "variable"):
        assert getattr(again, name) == getattr(index, name)


def test_an_index_of_another_file_is_refused(tmp_path: Path, videos: dict[str, tuple[Path, FrameIndex]]) -> None:
    short = counting(tmp_path / "short.mp4", 10, TIMES[:10], **KINDS["b_frames"])
    with pytest.raises(BadVideo, match=r"short\.mp4: frame 10 of 60 cannot be decoded"):
        list(frames(short, videos["b_frames"][1], 0, LENGTH))


def bad_files(folder: Path) -> dict[str, Path]:
    good = counting(folder / "good.mp4", 20)
    cut = folder / "cut.mp4"
    cut.write_bytes(good.read_bytes()[:200])
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("this is no video\n" * 50)
    small = make_video(folder / "small.h264", [numbered(1)] * 3)
    large = make_video(folder / "large.h264", [numbered(1, 128, 96)] * 3)
    (folder / "growing.h264").write_bytes(small.read_bytes() + large.read_bytes())
    return {
        "cut off": cut,
        "empty": folder / "empty.mp4",
        "text": folder / "text.mp4",
        "sound": sound_only(folder / "sound.mp4"),
        "size": folder / "growing.h264",
        "missing": folder / "missing.mp4",
    }


REASONS = {"sound": "no video stream, only audio", "size": "picture size changes from 64x48 to 128x96"}


@pytest.mark.parametrize("kind", ["cut off", "empty", "text", "sound", "size", "missing"])
def test_a_bad_file_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    path = bad_files(tmp_path)[kind]
    with pytest.raises(BadVideo) as refusal:
        FrameIndex.scan(path)
    assert str(refusal.value).startswith(f"{path.name}: ")
    assert REASONS.get(kind, "") in str(refusal.value)
