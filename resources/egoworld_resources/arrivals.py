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
        key = video_key(name)
        try:
            return self._take(path, name, key)
        except Refused as error:
            self._store.record("refusals", key, {"name": name, "reason": str(error)})
            raise

    def _take(self, path: Path, name: str, key: str) -> Arrival:
        before = self._store.recorded("videos", key) or {}
        twin = self._store.recorded("duplicates", key)
        if (twin or before).get("seen") == identity(path):
            return Arrival(key, name, "duplicate", twin["duplicate_of"]) if twin else Arrival(key, name, "unchanged")
        sha256, size, seen = self._copy(path)
        self._store.record("refusals", key, None)
        facts = {"name": name, "sha256": sha256, "bytes": size, "suffix": suffix_of(name), "seen": seen}
        owner = self._owner(sha256)
        if owner and owner != key:
            self._store.record("duplicates", key, {**facts, "duplicate_of": owner})
            return Arrival(key, name, "duplicate", owner)
        self._store.record("owners", sha256, {"video": key})
        at = datetime.now(UTC).isoformat(timespec="seconds")
        self._store.record("videos", key, {"arrived_at": at, **before, **facts})
        self._store.record("duplicates", key, None)
        if before.get("sha256") == sha256:
            return Arrival(key, name, "unchanged")
        return Arrival(key, name, "replaced" if before else "new")

    def _owner(self, sha256: str) -> str | None:
        """The video that holds these bytes now; a video that was re-uploaded since no longer does."""
        claim = self._store.recorded("owners", sha256)
        if claim is None:
            return None
        video = self._store.recorded("videos", claim["video"])
        return claim["video"] if video and video["sha256"] == sha256 else None

    def _copy(self, path: Path) -> tuple[str, int, str]:
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
                if _identity(before) != _identity(os.fstat(source.fileno())):
                    raise Refused(f"{path.name!r} changed while it was read; it is taken once it rests")
                Path(temporary).chmod(0o444)
                Path(temporary).replace(self._store.source(digest.hexdigest(), suffix_of(path.name)))
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
        return digest.hexdigest(), before.st_size, _identity(before)


def resting(inbox: Path, settle_s: float) -> Iterator[Path]:
    """Regular files below the inbox, oldest first, that have not changed for ``settle_s`` seconds.

    Age is by change time, which a move into the inbox renews and no program can set back.

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
            if stat.S_ISREG(facts.st_mode) and now - facts.st_ctime >= settle_s:
                found.append((facts.st_ctime_ns, str(path), path))
    yield from (path for _, _, path in sorted(found))


def identity(path: Path) -> str:
    """What changes whenever a file's bytes do, without reading them; empty when there is no such file."""
    try:
        return _identity(path.lstat())
    except OSError:
        return ""


def _identity(facts: os.stat_result) -> str:
    return f"{facts.st_dev}:{facts.st_ino}:{facts.st_size}:{facts.st_mtime_ns}:{facts.st_ctime_ns}"


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
