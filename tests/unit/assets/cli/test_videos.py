"""Which files of a folder on the command line are videos: what was filmed, once."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from egoworld_assets.cli.videos import video_files

FILMED = ("a/GX010001.MP4", "b/00001.MTS", "c/live.ts", "d/raw.h264", "e/screen.mkv", "f/M4ROOT/CLIP/C0007.MP4")
BESIDE = (
    *("a/GL010001.LRV", "a/GX010001.THM", "a/GL010001.MP4", "a/._GX010001.MP4", "a/IMG_0001.AAE", "a/GX010001.srt"),
    *("f/M4ROOT/SUB/C0007S03.MP4", "f/M4ROOT/THMBNL/C0007T01.JPG", "f/M4ROOT/CLIP/C0007M01.XML", "g/Proxy/x.mov"),
)


def test_a_folder_gives_what_was_filmed_and_no_copies_of_it(tmp_path: Path) -> None:
    for name in (*FILMED, *BESIDE):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    found = video_files([str(tmp_path)], Console())
    assert [path.relative_to(tmp_path).as_posix() for path in found] == sorted(FILMED)
