"""What is a video by its first bytes and what is not, whatever its name."""

from __future__ import annotations

import gzip
import io
import json
import struct
import tarfile
import wave
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from egoworld_resources.inbox.first_bytes import HEAD, beside_a_video, no_video
from tests.bad_videos import MP4, changing, cut, encoded

RAW = {
    "mpegts": "mpeg2video",
    "m2ts": "mpeg2video",
    "mpg": "mpeg2video",
    "flv": "flv",
    "wmv": "wmv2",
    "h264": "libx264",
}


def head(path: Path) -> bytes:
    return path.read_bytes()[:HEAD]


@pytest.mark.parametrize(
    "suffix", [".mp4", ".mov", ".mkv", ".webm", ".avi", ".ts", ".m2ts", ".mpg", ".flv", ".wmv", ".gif"]
)
def test_every_container_that_is_written_here(tmp_path: Path, suffix: str) -> None:
    codecs = {".webm": "libvpx", ".flv": "flv", ".wmv": "wmv2", ".mpg": "mpeg2video", ".gif": "gif", ".avi": "mjpeg"}
    made = encoded(tmp_path / f"v{suffix}", codec=codecs.get(suffix, "libx264"))
    assert no_video(head(made)) == ""


def test_damaged_videos_are_videos(tmp_path: Path) -> None:
    for percent in (10, 50):
        assert no_video(head(cut(tmp_path / "cut.mp4", percent, ".mp4"))) == ""
        assert no_video(head(cut(tmp_path / "cut.mkv", percent, ".mkv"))) == ""
    assert no_video(head(changing(tmp_path / "changing.h264"))) == ""
    assert no_video(MP4) == ""


def picture(kind: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (9, 9)).save(out, kind)
    return out.getvalue()


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("kitchen.mp4", MP4)
    return out.getvalue()


def tarred() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("kitchen.mp4"))
    return out.getvalue()


def sound() -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", "none"))
        file.writeframes(b"\1\2" * 99)
    return out.getvalue()


JUNK: dict[str, tuple[Callable[[], bytes], str]] = {
    "text": (lambda: b"take 3, the good one\n", "a text"),
    "text in another language": (lambda: "Küche, 厨房\n".encode() * 9, "a text"),
    "text of Windows": (lambda: "a note".encode("utf-16"), "a text"),
    "playlist": (lambda: b"#EXTM3U\nhttp://127.0.0.1/a.ts\n", "a text"),
    "other files by name": (lambda: b"ffconcat version 1.0\nfile '/etc/passwd'\n", "a text"),
    "JSON": (lambda: json.dumps({"error": "AccessDenied"}).encode(), "a text"),
    "web page": (lambda: b"<!DOCTYPE html>\n<html><h1>502 Bad Gateway</h1></html>", "a web page"),
    "web page after a comment": (lambda: b"\n<!-- proxy --> <HTML lang=en>", "a web page"),
    "answer of S3": (lambda: b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code></Error>", "a text"),
    "subtitles": (lambda: b"1\n00:00:01,000 --> 00:00:02,000\nhello\n", "a text"),
    "PNG": (lambda: picture("PNG"), "a picture"),
    "JPEG": (lambda: picture("JPEG"), "a picture"),
    "WebP": (lambda: picture("WEBP"), "a picture"),
    "TIFF": (lambda: picture("TIFF"), "a picture"),
    "BMP": (lambda: picture("BMP"), "a picture"),
    "GIF that does not move": (lambda: picture("GIF"), "a picture"),
    "HEIC": (lambda: struct.pack(">I", 24) + b"ftypheic\0\0\0\0mif1heic" + b"\0\0\1\0meta", "a picture"),
    "ZIP of videos": (zipped, "an archive"),
    "tar.gz": (tarred, "an archive"),
    "gzip": (lambda: gzip.compress(MP4 * 99), "an archive"),
    "WAV": (sound, "sound"),
    "MP3": (lambda: b"ID3\x04" + bytes(99) + b"\1", "sound"),
    "M4A": (lambda: struct.pack(">I", 24) + b"ftypM4A \0\0\0\0", "sound"),
    "PDF": (lambda: b"%PDF-1.7\n\x80\x81", "a document"),
    "program": (lambda: b"\x7fELF\2\1\1" + bytes(99), "a program"),
    "database": (lambda: b"SQLite format 3\x00" + bytes(99), "a database"),
    "zeros": (lambda: bytes(HEAD), "nothing but zeros"),
    "one byte": (lambda: b"\0", "nothing but zeros"),
    "noise": (lambda: bytes(range(256)) * 9, "data of no kind of video"),
    "AppleDouble": (lambda: b"\0\5\x16\7\0\2\0\0", "a file of macOS"),
}


@pytest.mark.parametrize("kind", JUNK)
def test_what_is_no_video_is_named(kind: str) -> None:
    made, what = JUNK[kind]
    assert no_video(made()[:HEAD]).startswith(what)


def test_what_cameras_and_systems_write_beside_videos() -> None:
    beside = [
        "GX010001.LRV",
        "day 1/GOPR0001.THM",
        "DJI_0001.SRT",
        "._kitchen.mp4",
        "a/._b.mov",
        "Thumbs.db",
        "x/.DS_Store",
        "IMG_0001.AAE",
        "GL010001.MP4",
        "PRIVATE/M4ROOT/SUB/C0001S03.MP4",
        "M4ROOT/CLIP/C0001M01.XML",
        "day 2/Proxy/A001.mov",
        "LRV_20240101_120000_11_001.insv",
    ]
    assert [name for name in beside if not beside_a_video(name)] == []
    assert [
        name
        for name in ("GX010001.MP4", "a.srt.mp4", "_.mp4", "LRV", "thumbs.db.mp4", "M4ROOT/CLIP/C0001.MP4", "proxy.mp4")
        if beside_a_video(name)
    ] == []
