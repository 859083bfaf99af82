"""What lies in the inbox: files to take, files to wait for, and what is none."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from egoworld_resources.layout import readable

UNFINISHED = (".part", ".partial", ".crdownload", ".tmp", ".filepart")
"""Suffixes that transfer programs give to what they have not finished."""


@dataclass(frozen=True)
class InboxFile:
    """One entry. name: path below the inbox; folder: identity of the folder that it lies in, with its path.

    changed_ns: time of its last change, which a move into the inbox renews and no program can set back.
    """

    path: Path
    name: str
    folder: str
    changed_ns: int
    state: Literal["ready", "waiting", "refused"]
    why: str = ""


def look(inbox: Path, settle_s: float, now: float | None = None) -> list[InboxFile]:
    """Everything below the inbox except hidden names, oldest first; ready once unchanged for ``settle_s`` seconds."""
    now = time.time() if now is None else now
    found: list[InboxFile] = []
    unlisted: list[OSError] = []
    for folder, folders, files in os.walk(inbox, followlinks=False, onerror=unlisted.append):
        folders[:] = [name for name in folders if not name.startswith(".")]
        here = _folder(inbox, Path(folder))
        for name in (*folders, *files):
            if not name.startswith("."):
                found += _entry(inbox, Path(folder, name), here, now - settle_s)
    for error in unlisted:
        if error.filename and Path(error.filename) != inbox:
            path = Path(error.filename)
            why = f"{readable(path.name)!r} cannot be listed ({error.strerror}); allow reading the folder"
            found.append(InboxFile(path, path.relative_to(inbox).as_posix(), "", 0, "refused", why))
    return sorted(found, key=lambda file: (file.changed_ns, file.name))


def _folder(inbox: Path, folder: Path) -> str:
    try:
        facts = folder.lstat()
    except FileNotFoundError:
        return ""
    return f"{facts.st_dev}:{facts.st_ino}:{readable(folder.relative_to(inbox).as_posix())}"


def _entry(inbox: Path, path: Path, folder: str, before: float) -> Iterator[InboxFile]:
    try:
        facts = path.lstat()
    except FileNotFoundError:
        return
    name, shown = path.relative_to(inbox).as_posix(), repr(readable(path.name))
    if stat.S_ISDIR(facts.st_mode):
        if path.suffix.lower() in (".mp4", ".mov", ".mkv", ".webm", ".avi"):
            why = f"{shown} is a folder with the name of a video; what lies in it is taken"
            yield InboxFile(path, name, folder, facts.st_ctime_ns, "refused", why)
        return
    why = ""
    if stat.S_ISLNK(facts.st_mode):
        why = f"{shown} is a symbolic link; put the file itself into the inbox"
    elif not stat.S_ISREG(facts.st_mode):
        why = f"{shown} is not a regular file; put a video file into the inbox"
    state: Literal["ready", "waiting", "refused"] = "refused" if why else "ready"
    if state == "ready" and path.name.endswith(UNFINISHED):
        state, why = (
            "waiting",
            f"{path.suffix} is the suffix of an unfinished transfer; it is taken under its final name",
        )
    elif state == "ready" and facts.st_ctime > before:
        state, why = "waiting", "it changed just now; it is taken once it rests"
    yield InboxFile(path, name, folder, facts.st_ctime_ns, state, why)
