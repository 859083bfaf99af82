"""Which files a person means who names videos, folders and globs."""

from __future__ import annotations

import glob
import mimetypes
import os
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from egoworld_resources.errors import BadConfiguration
from egoworld_resources.inbox.first_bytes import beside_a_video
from egoworld_resources.settings import Settings

SUFFIXES = (
    *(".mkv", ".ts", ".mts", ".m2ts", ".insv", ".360", ".mxf", ".mod", ".tod", ".vob", ".dv", ".y4m"),
    *(".h264", ".264", ".h265", ".265", ".hevc", ".avc", ".mjpeg", ".mjpg", ".ivf", ".obu"),
)
"""Suffixes of videos that the tables of a system may not name, or name as something else."""


def video_files(names: Sequence[str] | None, console: Console) -> list[Path]:
    """Files behind names, folders and globs, each once.

    An unknown name is reported and left out; raises BadConfiguration when nothing is left.
    """
    found: list[Path] = []
    missing: list[str] = []
    for name in names or []:
        path = Path(name)
        if os.path.isdir(name):  # noqa: PTH112 a name may be too long to ask for
            matches = videos_below(path, Settings.load().home)
        else:
            matches = [path] if os.path.lexists(name) else sorted(Path(p) for p in glob.glob(name, recursive=True))  # noqa: PTH207 absolute globs too
        if not matches:
            missing.append(f"no video at {name!r}; give a file, a folder with files, or a glob in quotes")
        found += matches
    if missing and not found:
        raise BadConfiguration("; ".join(missing))
    for reason in missing:
        console.print(f"[red]refused:[/red] {escape(reason)}", soft_wrap=True, highlight=False)
    return list(dict.fromkeys(found))


def videos_below(folder: Path, home: Path) -> list[Path]:
    """Video files in a folder and below, in name order; not in hidden folders, and not what egoworld wrote itself.

    Low-resolution copies that cameras keep beside a take are no videos here either.
    """
    found: list[Path] = []
    for above, folders, files in os.walk(folder):
        folders[:] = [f for f in folders if not f.startswith(".") and Path(above, f).resolve() != home]
        here = [Path(above, file) for file in files if looks_like_video(Path(above, file))]
        found += [file for file in here if not beside_a_video(file.relative_to(folder).as_posix())]
    return sorted(found)


def looks_like_video(path: Path) -> bool:
    """Whether a file in a folder is meant to be a video, by its suffix; a file named by itself is always taken."""
    kind = mimetypes.guess_type(path.name)[0] or ""
    return not path.name.startswith(".") and (kind.startswith("video/") or path.suffix.lower() in SUFFIXES)
