"""Files for their owner alone: written whole, and locked so that no other user of the machine can hold them.

Whoever may read a file may lock it with flock(2) and keep us waiting for ever. So lock files are for their owner alone,
links are not followed, and a file that somebody else put there is refused.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from egoworld_resources.errors import BadConfiguration

PRIVATE = 0o600


def open_lock(path: Path) -> int:
    """The descriptor of a lock file, made when there is none; its folder is there.

    One of an earlier version that others might read is closed to them. Raises BadConfiguration for a link, for what is
    no plain file, and for the file of a user who is neither us, nor root, nor the owner of its folder.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, PRIVATE)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise BadConfiguration(f"{path} must be a plain file to be locked and is none; remove it") from error
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
        raise BadConfiguration(f"{path} must be a plain file to be locked and is none; remove it")
    if found.st_uid not in (os.geteuid(), 0, path.parent.stat().st_uid):
        raise BadConfiguration(
            f"{path} belongs to user {found.st_uid}, who could hold it for ever; remove it, or work in another folder"
        )
    if stat.S_IMODE(found.st_mode) & ~PRIVATE:
        os.fchmod(descriptor, PRIVATE)
