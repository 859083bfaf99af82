"""Videos that arrive: bytes copied into the store, identity recorded, duplicates named."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from egoworld_resources.errors import Terminal
from egoworld_resources.layout import video_key
from egoworld_resources.store import FolderStore

BLOCK = 1 << 20
UNFINISHED = (".part", ".partial", ".crdownload", ".tmp", ".filepart")


class Refused(Terminal):
    """A file that cannot become a video; the message names it and the fix."""


@dataclass(frozen=True)
class Arrival:
    """What became of a file. video: its key; state "unchanged" when these bytes were already taken under this name."""

    video: str
    name: str
    state: Literal["new", "replaced", "unchanged", "duplicate"]
    duplicate_of: str | None = None


class Arrivals:
    """Takes files into the store; every step can be repeated after a crash without doubling anything."""

    def __init__(self, store: FolderStore) -> None:
        self._store = store

    def take(self, path: Path, name: str | None = None) -> Arrival:
        """Copy a file in and record it under its name (the path below the inbox, or the file name).

        Raises Refused for anything but a regular file, and when the file changes while it is read.
        """
        name = name or path.name
        sha256, size = self._copy(path)
        key = video_key(name)
        before = self._store.recorded("videos", key)
        if before and before["sha256"] == sha256:
            return Arrival(key, name, "unchanged")
        owner = self._owner(sha256)
        if owner and owner != key:
            self._store.record("duplicates", key, {"name": name, "sha256": sha256, "duplicate_of": owner})
            return Arrival(key, name, "duplicate", owner)
        self._store.record("owners", sha256, {"video": key})
        facts = {"name": name, "sha256": sha256, "bytes": size, "suffix": suffix_of(name)}
        self._store.record("videos", key, {**facts, "arrived_at": datetime.now(UTC).isoformat(timespec="seconds")})
        self._store.record("duplicates", key, None)
        return Arrival(key, name, "replaced" if before else "new")

    def _owner(self, sha256: str) -> str | None:
        """The video that holds these bytes now; a video that was re-uploaded since no longer does."""
        claim = self._store.recorded("owners", sha256)
        if claim is None:
            return None
        video = self._store.recorded("videos", claim["video"])
        return claim["video"] if video and video["sha256"] == sha256 else None

    def _copy(self, path: Path) -> tuple[str, int]:
        folder = self._store.source("0", "").parent
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = _open_regular(path)
        with os.fdopen(descriptor, "rb") as source:
            before = os.fstat(source.fileno())
            if before.st_size == 0:
                raise Refused(f"{path.name!r} is empty (0 bytes); copy it again")
            handle, temporary = tempfile.mkstemp(prefix=".incoming-", dir=folder)
            try:
                digest = hashlib.sha256()
                with os.fdopen(handle, "wb") as target:
                    while block := source.read(BLOCK):
                        digest.update(block)
                        target.write(block)
                    target.flush()
                    os.fsync(target.fileno())
                after = os.fstat(source.fileno())
                if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
                    raise Refused(f"{path.name!r} changed while it was read; it is taken once it rests")
                Path(temporary).chmod(0o444)
                os.replace(temporary, self._store.source(digest.hexdigest(), suffix_of(path.name)))
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
        return digest.hexdigest(), before.st_size


def resting(inbox: Path, settle_s: float) -> Iterator[Path]:
    """Regular files below the inbox, oldest first, that have not changed for ``settle_s`` seconds.

    Hidden files, links, devices and names that transfer programs use for unfinished files are left alone.
    """
    now = time.time()
    found: list[tuple[int, str, Path]] = []
    for folder, folders, files in os.walk(inbox, followlinks=False):
        folders[:] = [f for f in folders if not f.startswith(".")]
        for file in files:
            path = Path(folder, file)
            if file.startswith(".") or file.endswith(UNFINISHED):
                continue
            facts = path.lstat()
            if stat.S_ISREG(facts.st_mode) and now - facts.st_mtime >= settle_s:
                found.append((facts.st_mtime_ns, str(path), path))
    yield from (path for _, _, path in sorted(found))


def suffix_of(name: str) -> str:
    """The file's suffix, lower case, when it is a harmless one; decoders guess by content anyway."""
    suffix = Path(name).suffix.lower()
    return suffix if suffix.isascii() and suffix[1:].isalnum() and len(suffix) <= 6 else ".video"


def _open_regular(path: Path) -> int:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise Refused(f"{path.name!r} cannot be read: {error.strerror}; give a regular file") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Refused(f"{path.name!r} is not a regular file; give a video file")
    return descriptor
