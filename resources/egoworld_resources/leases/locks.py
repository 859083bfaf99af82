"""The one kind of lock there is, and files for their owner alone.

A lock is an open file description lock (Linux, fcntl(2)) on one byte of a file. Two holders of one process exclude each
other too; a child that inherits the descriptor holds it with us; the kernel frees it when the last of them is gone,
however it ended. flock(2) of the same file does not count. A user who may open a lock file could hold it for ever, so
lock files are for their owner alone, links are not followed, and a file that somebody else put there is refused.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from egoworld_resources.errors import BadConfiguration, LockBusy

PRIVATE = 0o600
RETRY_S = 0.02


@contextmanager
def locked(path: Path, wait_s: float | None = None, *, shared: bool = False) -> Generator[int]:
    """Hold the lock of a file; yields its descriptor, for children that are to hold it until they end.

    ``shared`` holds it together with others that share it. Raises LockBusy when it is not free within ``wait_s``;
    None waits for as long as it takes. Raises BadConfiguration when another user could hold it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = open_lock(path)
    try:
        if wait_s is None:
            lock(descriptor, shared=shared)
        elif not lock_within(descriptor, wait_s, shared=shared):
            raise LockBusy(f"{path} is held by another process")
        yield descriptor
    finally:
        os.close(descriptor)


def lock(descriptor: int, byte: int = 0, *, shared: bool = False) -> None:
    """Lock a byte of an open file, as soon as nobody else holds it."""
    _fcntl(descriptor, fcntl.F_OFD_SETLKW, fcntl.F_RDLCK if shared else fcntl.F_WRLCK, byte)


def try_lock(descriptor: int, byte: int = 0, *, shared: bool = False) -> bool:
    """Lock a byte of an open file if nobody else holds it now."""
    try:
        _fcntl(descriptor, fcntl.F_OFD_SETLK, fcntl.F_RDLCK if shared else fcntl.F_WRLCK, byte)
    except BlockingIOError:
        return False
    return True


def lock_within(descriptor: int, wait_s: float, *, shared: bool = False) -> bool:
    """Lock an open file if it becomes free in time. The kernel's own wait has no end, so a bounded one tries again."""
    until = time.monotonic() + wait_s
    while not try_lock(descriptor, shared=shared):
        if time.monotonic() >= until:
            return False
        time.sleep(RETRY_S)
    return True


def unlock(descriptor: int, byte: int = 0) -> None:
    """Free a byte of an open file."""
    _fcntl(descriptor, fcntl.F_OFD_SETLK, fcntl.F_UNLCK, byte)


def _fcntl(descriptor: int, command: int, kind: int, byte: int) -> None:
    fcntl.fcntl(descriptor, command, struct.pack("hhqqi4x", kind, os.SEEK_SET, byte, 1, 0))


def open_lock(path: Path) -> int:
    """The descriptor of a lock file, made when there is none; its folder is there.

    One of an earlier version that others might read is closed to them. Raises BadConfiguration for a link, for what is
    no plain file, and for the file of a user who is neither us, nor root, nor the owner of its folder.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, PRIVATE)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise BadConfiguration(
                f"{path} must be a plain file to be locked, and is something else; remove it"
            ) from error
        if error.errno == errno.EACCES and path.exists():
            raise BadConfiguration(
                f"{path} belongs to user {path.stat().st_uid} and cannot be locked by user {os.geteuid()}; "
                "work in this folder as one user, or remove that file"
            ) from error
        raise
    try:
        _see_to(descriptor, path)
    except (OSError, BadConfiguration):
        os.close(descriptor)
        raise
    return descriptor


def write_private(path: Path, text: str) -> None:
    """Put a text in a file's place, whole, never readable by others, not for a moment."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        out.write(text)
    part.rename(path)


def _see_to(descriptor: int, path: Path) -> None:
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise BadConfiguration(f"{path} must be a plain file to be locked, and is something else; remove it")
    if found.st_uid not in (os.geteuid(), 0, path.parent.stat().st_uid):
        raise BadConfiguration(
            f"{path} belongs to user {found.st_uid}, who could hold it for ever; remove it, or work in another folder"
        )
    if stat.S_IMODE(found.st_mode) & ~PRIVATE:
        os.fchmod(descriptor, PRIVATE)
