"""What a file is by its first bytes: the containers of videos, and what else people and programs put into an inbox.

Nothing is parsed: a file that is taken for a video here may be damaged, cut off or without pictures, which the stage
`videos` finds out in its sandbox. A name alone proves nothing, except for files that cameras write beside videos.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

HEAD = 64 << 10
"""Bytes that are looked at."""
PACKET = 188
"""Bytes of a packet of an MPEG transport stream; with a time stamp 192, with error correction 204."""

IMAGE_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1", b"avif")
"""Brands of pictures in the container of MP4 (ISO/IEC 23008-12); their sequences, such as hevc or avis, are videos."""
AUDIO_BRANDS = (b"M4A ", b"M4B ", b"M4P ")
BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"uuid", b"moof", b"sidx", b"jP  ")
"""First boxes of QuickTime and MP4 files, whole or cut off at their beginning."""

VIDEOS = (
    b"\x1aE\xdf\xa3",  # Matroska, WebM
    b"FLV\x01",
    b"OggS",
    b"0&\xb2u\x8ef\xcf\x11",  # ASF, WMV
    b"\x06\x0e+4",  # MXF, GXF below
    b"\x00\x00\x00\x00\x01\xbc",  # GXF
    b".RMF",
    b"DKIF",  # IVF
    b"nut/multimedia container",
    b"YUV4MPEG2",
    b"\x00\x00\x01\xba",  # MPEG program stream
    b"\x00\x00\x01\xb3",  # MPEG-1 and -2 video
    b"\x00\x00\x01\xb0",  # MPEG-4 visual
    b"\x00\x00\x01\xb5",
    b"\x00\x00\x01\x00",  # H.263, MPEG-4 visual
    b"\x00\x00\x01\x0f",  # VC-1
    b"\x1f\x07\x00",  # DV
    b"\xb7\xd8\x00 7I\xda\x11",  # WTV
    b"NSVf",
    b"NSVs",
    b"FWS",
    b"CWS",
    b"\x12\x00\n",  # AV1 in open bitstream units
)
"""First bytes of containers and raw streams that FFmpeg reads pictures from."""

OTHERS: dict[str, tuple[bytes, ...]] = {
    "a picture": (
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"BM",
        b"II*\x00",
        b"MM\x00*",
        b"8BPS",
        b"\x00\x00\x01\x00\x01\x00",
    ),
    "an archive": (
        *(
            b"PK\x03\x04",
            b"PK\x05\x06",
            b"\x1f\x8b",
            b"BZh",
            b"\xfd7zXZ\x00",
            b"7z\xbc\xaf'\x1c",
            b"Rar!",
            b"(\xb5/\xfd",
        ),
        *(b'\x04"M\x18', b"LZIP", b"MSCF", b"xar!"),
    ),
    "sound": (
        b"ID3",
        b"fLaC",
        b"\xff\xfb",
        b"\xff\xf3",
        b"\xff\xf2",
        b"\xff\xf1",
        b"\xff\xf9",
        b"#!AMR",
        b"caff",
        b"FORM",
    ),
    "a document": (b"%PDF", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"{\\rtf", b"%!PS"),
    "a program": (b"\x7fELF", b"MZ", b"\xca\xfe\xba\xbe", b"\xcf\xfa\xed\xfe"),
    "a file of macOS beside another": (b"\x00\x05\x16\x07", b"\x00\x05\x16\x00"),
    "a database": (b"SQLite format 3\x00",),
    "a table": (b"PAR1", b"ARROW1"),
}
"""First bytes of files that are not videos."""

RIFF = {b"AVI ": "", b"AVIX": "", b"AMV ": "", b"WAVE": "sound", b"WEBP": "a picture"}
PAGE = re.compile(rb"\s*(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL)
TEXT = set(range(32, 127)) | set(range(128, 256)) | {7, 8, 9, 10, 12, 13, 27}

SIDECARS = (
    *(".lrv", ".lrf", ".thm", ".srt", ".xmp", ".cpi", ".mpl", ".bdm", ".tdt", ".tid", ".modd", ".moff", ".ppn"),
    *(".aae", ".xml", ".glv"),
)
"""Low-resolution copies, pictures, captions and indexes on the cards of GoPro, DJI, Sony, Panasonic and others."""
COPIES = re.compile(r"gl\d{6}\.mp4|lrv_\w+\.(insv|mp4)|c\d{4}s\d{2}\.mp4|.*(_|-)proxy\.(mp4|mov|mxf)")
"""Names that GoPro, Insta360, Sony and programs for cutting give to low-resolution copies of a take."""
COPY_FOLDERS = ("proxy", "proxies", "thmbnl", "m4root/sub")
"""Folders that hold nothing but such copies."""
LITTER = ("thumbs.db", "desktop.ini", ".ds_store", "ehthumbs.db")


def beside_a_video(name: str) -> bool:
    """Whether a camera, Windows or macOS writes a file of this name beside videos: never a video that is meant."""
    path = PurePosixPath(name.lower())
    last, above = path.name, f"/{path.parent}"
    if last.startswith("._") or last in LITTER or last.endswith(SIDECARS) or COPIES.fullmatch(last):
        return True
    return any(above.endswith(f"/{folder}") or f"/{folder}/" in above for folder in COPY_FOLDERS)


def no_video(head: bytes) -> str:
    """The kind of a file with these first bytes if it is not a video; empty for a video.

    head: its first HEAD bytes, or all of a shorter file.
    """
    if not head.strip(b"\x00"):
        return "nothing but zeros: a copy that was cut off before it had begun"
    if head[:4] == b"RIFF":
        return RIFF.get(head[8:12], "RIFF data without pictures")
    if head[4:8] in BOXES:
        return _boxes(head)
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return "" if head.count(b"\x21\xf9\x04") > 1 or b"NETSCAPE2.0" in head else "a picture"
    if _elementary(head) or _transport(head):
        return ""
    for what, beginnings in OTHERS.items():
        if head.startswith(beginnings):
            return what
    if head.startswith(VIDEOS):
        return ""
    return _text(head) or "data of no kind of video that is known here"


def _boxes(head: bytes) -> str:
    brand = head[8:12] if head[4:8] == b"ftyp" else b""
    if brand in IMAGE_BRANDS and b"moov" not in head[:4096]:
        return "a picture"
    return "sound" if brand in AUDIO_BRANDS else ""


def _elementary(head: bytes) -> bool:
    """A raw stream of H.264 or H.265 (Annex B), whose units begin after a start code with a bit that is zero."""
    start = head.find(b"\x00\x00\x01", 0, 5)
    if start not in (0, 1) or len(head) < start + 5:
        return False
    first = head[start + 3]
    h264, h265 = first & 0x1F, first >> 1 & 0x3F
    return first < 0x80 and (h264 in (5, 6, 7, 8, 9) or h265 in (32, 33, 34, 35, 39))


def _transport(head: bytes) -> bool:
    """An MPEG transport stream: a mark at the beginning of every packet."""
    for size, offset in ((PACKET, 0), (PACKET + 4, 4), (PACKET + 4, 0), (PACKET + 16, 0)):
        marks = head[offset : offset + 8 * size : size]
        if len(marks) >= 3 and set(marks) == {0x47}:
            return True
    return False


def _text(head: bytes) -> str:
    """The kind of text; empty if it is not text."""
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "a text"
    if any(byte not in TEXT for byte in head):
        return ""
    return "a web page, perhaps of an error" if PAGE.match(head) else "a text"
