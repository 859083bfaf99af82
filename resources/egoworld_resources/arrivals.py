"""Videos that arrive: bytes copied into the store, identity recorded, duplicates named."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Literal

from egoworld_resources.errors import Terminal
from egoworld_resources.layout import readable, video_key
from egoworld_resources.scratch import scratch_file
from egoworld_resources.store import Store, naming_a_full_disk

BLOCK = 1 << 20
FIXES = {
    errno.EACCES: "allow reading it (chmod u+r)",
    errno.EPERM: "allow reading it",
    errno.ELOOP: "it is a symbolic link, give the file itself",
    errno.ENOENT: "copy it again",
}


class Refused(Terminal):
    """A file that cannot become a video; the message names it and the fix."""


class StillChanging(Refused):
    """A file that someone is writing; it is taken later."""


@dataclass(frozen=True)
class Arrival:
    """What became of a file. video: its key; state "unchanged" when these bytes were already taken under this name.

    known: the file itself had been seen before, so nothing was read.
    """

    video: str
    name: str
    state: Literal["new", "replaced", "unchanged", "duplicate"]
    duplicate_of: str | None = None
    known: bool = False


class Arrivals:
    """Takes files into the store; every step can be repeated after a crash without doubling anything."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def take(self, path: Path, name: str | None = None) -> Arrival:
        """Copy a file in and record it under its name (the path below the inbox, or the file name).

        Raises Refused for anything but a regular file, and when the file changes while it is read.
        """
        from_inbox = name is not None
        key, name = video_key(name or path.name), readable(name or path.name)
        try:
            return self._take(path, name, key)
        except Refused as error:
            facts = {"name": name, "reason": str(error), "inbox": from_inbox}
            seen = "" if isinstance(error, StillChanging) else identity(path)
            self._store.record("refusals", key, {**facts, "seen": seen})
            raise

    def name_for(self, path: Path) -> str:
        """A name for a file that is given by its path: its own, or with the folders that set it apart from another's.

        A file that comes again from the same place keeps its name, so new bytes there replace the old ones.
        """
        parts = path.absolute().parts
        for count in range(1, len(parts)):
            name = "/".join(parts[-count:])
            key = video_key(name)
            known = self._store.recorded("videos", key) or self._store.recorded("duplicates", key)
            if known is None or known["origin"] == readable(str(path.absolute())):
                return name
        return str(path)

    def refused(self, path: Path, name: str) -> bool:
        """Whether this very file was refused before and has not changed since."""
        facts = self._store.recorded("refusals", video_key(name))
        return facts is not None and facts["seen"] == identity(path) != ""

    def forget_refusals(self, present: Iterable[str]) -> None:
        """Drop what is known of refused inbox files that are gone; present: names below the inbox."""
        refusals = [key for key, facts in self._store.records("refusals") if facts["inbox"]]
        for key in set(refusals).difference(map(video_key, present)) if refusals else ():
            self._store.record("refusals", key, None)

    def _take(self, path: Path, name: str, key: str) -> Arrival:
        before = self._store.recorded("videos", key) or {}
        twin = self._store.recorded("duplicates", key)
        for holder in (before, twin or {}):
            if holder and holder["name"] != name:
                raise Refused(f"{name!r} would get the key of {holder['name']!r}, {key}; rename it")
        if (twin or before).get("seen") == identity(path):
            same = twin["duplicate_of"] if twin else None
            return Arrival(key, name, "duplicate" if twin else "unchanged", same, known=True)
        sha256, size, seen = self._copy(path)
        self._store.record("refusals", key, None)
        facts = {"name": name, "sha256": sha256, "bytes": size, "suffix": suffix_of(name), "seen": seen}
        facts["origin"] = readable(str(path.absolute()))
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
        descriptor = _open_regular(path)
        with os.fdopen(descriptor, "rb") as source:
            before = os.fstat(source.fileno())
            if before.st_size == 0:
                raise Refused(f"{readable(path.name)!r} is empty (0 bytes); copy it again")
            with naming_a_full_disk(self._store.incoming), scratch_file(self._store.incoming) as (handle, temporary):
                digest = hashlib.sha256()
                with os.fdopen(handle, "wb", closefd=False) as target:
                    while block := _read(source, path):
                        digest.update(block)
                        target.write(block)
                os.fsync(handle)
                if _identity(before) != _identity(os.fstat(source.fileno())):
                    raise StillChanging(f"{readable(path.name)!r} changed while it was read; it is taken once it rests")
                self._store.add_source(temporary, digest.hexdigest(), suffix_of(path.name))
        return digest.hexdigest(), before.st_size, _identity(before)


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
        fix = FIXES.get(error.errno or 0, "give a regular file")
        raise Refused(f"{readable(path.name)!r} cannot be read ({error.strerror}); {fix}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Refused(f"{readable(path.name)!r} is not a regular file; give a video file")
    return descriptor


def _read(source: IO[bytes], path: Path) -> bytes:
    try:
        return source.read(BLOCK)
    except OSError as error:
        raise Refused(f"{readable(path.name)!r} cannot be read ({error.strerror}); copy it again") from error
