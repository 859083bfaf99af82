"""Where the bytes of an arriving video come from: what names them, and how they are read once."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from egoworld_resources.errors import Terminal
from egoworld_resources.inbox.first_bytes import HEAD, no_video
from egoworld_resources.layout import readable

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


class NoVideo(Refused):
    """A file whose first bytes are those of something else."""


class Origin(Protocol):
    """A file of a folder or an object of a bucket."""

    @property
    def where(self) -> str:
        """A path or an s3:// URL; the same for the same place."""
        ...

    def identity(self) -> str:
        """What changes whenever the bytes do, without reading them; empty when there is nothing any more."""
        ...

    def head(self) -> bytes:
        """The first bytes, HEAD at most. Raises Refused."""
        ...

    def copy(self, target: IO[bytes]) -> tuple[str, int, str]:
        """Write the bytes; their SHA-256, their number, and the identity of what was read. Raises Refused."""
        ...


@dataclass(frozen=True)
class FileOrigin:
    """A regular file of this machine."""

    path: Path

    @property
    def where(self) -> str:
        return readable(str(self.path.absolute()))

    def identity(self) -> str:
        try:
            return identity_of(self.path.lstat())
        except OSError:
            return ""

    def head(self) -> bytes:
        with os.fdopen(_open_regular(self.path), "rb") as source:
            return next(_blocks(source, self.path, HEAD), b"")

    def copy(self, target: IO[bytes]) -> tuple[str, int, str]:
        with os.fdopen(_open_regular(self.path), "rb") as source:
            before = os.fstat(source.fileno())
            if before.st_size == 0:
                raise empty(self.path.name)
            sha256, size = poured(_blocks(source, self.path), target)
            if identity_of(before) != identity_of(os.fstat(source.fileno())):
                raise changed(self.path.name)
        return sha256, size, identity_of(before)


def empty(name: str) -> Refused:
    """The message about a file without bytes."""
    return Refused(f"{readable(name)!r} is empty (0 bytes); copy it again")


def refuse_what_is_no_video(origin: Origin, name: str) -> None:
    """Raise Refused for a file without bytes and for one that begins as no video does; nothing else of it is read."""
    head = origin.head()
    if not head:
        raise empty(name)
    what = no_video(head)
    if what:
        raise NoVideo(f"{readable(name)!r} is {what}; put video files into the inbox, nothing else is made of it")


def changed(name: str) -> StillChanging:
    """The message about a file that was replaced or grew meanwhile."""
    return StillChanging(f"{readable(name)!r} changed while it was read; it is taken once it rests")


def poured(blocks: Iterable[bytes], target: IO[bytes]) -> tuple[str, int]:
    """Write blocks one after the other; their SHA-256 and the number of bytes."""
    digest, size = hashlib.sha256(), 0
    for block in blocks:
        digest.update(block)
        target.write(block)
        size += len(block)
    return digest.hexdigest(), size


def identity_of(facts: os.stat_result) -> str:
    """What changes whenever a file's bytes do."""
    return f"{facts.st_dev}:{facts.st_ino}:{facts.st_size}:{facts.st_mtime_ns}:{facts.st_ctime_ns}"


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


def _blocks(source: IO[bytes], path: Path, size: int = BLOCK) -> Iterator[bytes]:
    try:
        while block := source.read(size):
            yield block
    except OSError as error:
        raise Refused(f"{readable(path.name)!r} cannot be read ({error.strerror}); copy it again") from error
