"""Take what a runner wrote, without following anything that it may have put there.

A runner parses untrusted video with research code, so its output is untrusted too. Every file is opened as itself
(O_PATH, O_NOFOLLOW), looked at through that descriptor, and its bytes are copied from it into a folder that the runner
never had: what is swapped between a look and the read, or written later, is not what is published. Sources: openat(2),
open(2) on O_PATH, symlink(7).
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from egoworld_resources.artifacts.manifest import MANIFEST
from egoworld_runner.space import FULL

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+=@ -]{0,99}")
"""Names of the files and folders that a runner may leave."""
RESERVED = {MANIFEST, "current.json"}
DEPTH = 8
ENTRIES = 100_000
HOLE_BYTES = 1 << 30
"""Of a file of at least this size a sixteenth must be on the disk: else it is a hole that would be read for hours."""
BLOCK = 1 << 22
KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
}
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
ITSELF = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class NotTaken(Exception):
    """A runner left something that it may not leave; the message names it and its kind."""


class Missing(NotTaken):
    """A folder that a runner should have written is not there."""


@contextmanager
def opened(place: Path | int, *below: str) -> Iterator[int]:
    """A descriptor of the folder ``below`` a path or an open folder, of which none may be a link; raises NotTaken."""
    descriptor = _folder(place) if isinstance(place, Path) else _folder(".", place)
    try:
        for name in below:
            descriptor, outer = _folder(name, descriptor), descriptor
            os.close(outer)
        yield descriptor
    finally:
        os.close(descriptor)


def _folder(name: Path | str, outer: int | None = None) -> int:
    try:
        return os.open(name, FOLDER, dir_fd=outer)
    except FileNotFoundError as error:
        raise Missing(f"{name} is missing") from error
    except OSError as error:
        raise NotTaken(f"{name} is not a folder ({error.strerror})") from error


@contextmanager
def opened_file(folder: int, name: str, shown: str) -> Iterator[int]:
    """A descriptor to read a regular file from that has no other name and no set-id bit; raises NotTaken."""
    try:
        itself = os.open(name, ITSELF, dir_fd=folder)
    except OSError as error:
        raise NotTaken(f"{shown} cannot be read ({error.strerror})") from error
    try:
        _refuse_all_but_files(os.fstat(itself), os.fstat(folder), shown)
        reading = os.open(f"/proc/self/fd/{itself}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise NotTaken(f"{shown} cannot be read ({error.strerror})") from error
    finally:
        os.close(itself)
    try:
        yield reading
    finally:
        os.close(reading)


def _refuse_all_but_files(file: os.stat_result, folder: os.stat_result, shown: str) -> None:
    if not stat.S_ISREG(file.st_mode):
        raise NotTaken(f"{shown} is {KINDS.get(stat.S_IFMT(file.st_mode), 'no regular file')}")
    if file.st_nlink != 1:
        raise NotTaken(f"{shown} is a hardlink: the file has {file.st_nlink} names")
    if file.st_mode & (stat.S_ISUID | stat.S_ISGID):
        raise NotTaken(f"{shown} has a set-user-id or set-group-id bit")
    if file.st_dev != folder.st_dev:
        raise NotTaken(f"{shown} is on another file system")
    if file.st_size >= HOLE_BYTES and file.st_blocks * 512 < file.st_size // 16:
        raise NotTaken(f"{shown} is a hole: {file.st_size} bytes of which {file.st_blocks * 512} are on the disk")


def take(folder: int, into: Path, *, but: str = "") -> None:
    """Copy the contents of an open folder into ``into``; ``but``: a name at its top that is left out.

    Raises NotTaken at the first thing that may not be there, with its path below the folder. Raises OSError when
    there is no space.
    """
    into.mkdir(parents=True)
    left = ENTRIES
    waiting: list[tuple[str, ...]] = [()]
    while waiting:
        below = waiting.pop()
        with opened(folder, *below) as here:
            for name, is_folder in _entries(here, below, left):
                left -= 1
                if not below and name == but:
                    continue
                if is_folder:
                    waiting.append((*below, name))
                else:
                    _copy(here, name, into.joinpath(*below), "/".join((*below, name)))


def _entries(folder: int, below: tuple[str, ...], left: int) -> Iterator[tuple[str, bool]]:
    """Each name in a folder, with whether it is a folder."""
    if len(below) > DEPTH:
        raise NotTaken(f"{'/'.join(below)} is deeper than {DEPTH} folders")
    with os.scandir(folder) as entries:
        for entry in entries:
            left -= 1
            if left < 0:
                raise NotTaken(f"there are more than {ENTRIES} files and folders")
            shown = "/".join((*below, entry.name))
            if not NAME.fullmatch(entry.name):
                what = "letters, digits, spaces and ._+=@-, the first one a letter, a digit or _, 100 at most"
                raise NotTaken(f"{shown!a} is not a name for a file of an artifact ({what})")
            if not below and entry.name in RESERVED:
                raise NotTaken(f"{shown} is a name that egoworld writes itself")
            yield entry.name, entry.is_dir(follow_symlinks=False)


def _copy(folder: int, name: str, into: Path, shown: str) -> None:
    with opened_file(folder, name, shown) as source:
        into.mkdir(parents=True, exist_ok=True)
        target = os.open(into / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            _copy_bytes(source, target, os.fstat(source).st_size)
        finally:
            os.close(target)


def _copy_bytes(source: int, target: int, size: int) -> None:
    """The first ``size`` bytes; where the file system can, without reading them."""
    left = size
    try:
        while left and (copied := os.copy_file_range(source, target, left)):
            left -= copied
    except OSError as error:
        if error.errno in FULL:
            raise
    while left and (block := os.pread(source, min(left, BLOCK), size - left)):
        view = memoryview(block)
        while view:
            view = view[os.write(target, view) :]
        left -= len(block)


def read_small(folder: int, name: str, limit: int) -> bytes | None:
    """The bytes of a small file of an open folder; None if the name does not exist. Raises NotTaken."""
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return None
    with opened_file(folder, name, name) as file:
        if os.fstat(file).st_size > limit:
            raise NotTaken(f"{name} is larger than {limit} bytes")
        return os.pread(file, limit, 0)
