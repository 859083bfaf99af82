"""Scratch folders and files that are gone when their owner is, however it ended."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from egoworld_resources.leases.locks import lock, try_lock

LOCK = "owner.lock"


@contextmanager
def scratch_folder(root: Path, name: str) -> Iterator[Path]:
    """A new folder below ``root``, removed at the end; what owners that died left there is removed on the way in."""
    root.mkdir(parents=True, exist_ok=True)
    sweep(root)
    folder, descriptor = _owned_folder(root, name)
    try:
        yield folder
    finally:
        remove_tree(folder)
        os.close(descriptor)


@contextmanager
def scratch_file(root: Path) -> Iterator[tuple[int, Path]]:
    """A new file below ``root``, open for writing, to be renamed to where it belongs; else removed at the end."""
    root.mkdir(parents=True, exist_ok=True)
    descriptor, path = _owned_file(root)
    try:
        yield descriptor, path
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def remove_tree(folder: Path) -> None:
    """Remove a folder, whatever a runner left in it: folders that are shut, or nested deeper than Python goes down."""
    with suppress(RecursionError):
        shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        for command in (["chmod", "-R", "u+rwX"], ["rm", "-rf", "--one-file-system"]):
            subprocess.run([*command, "--", str(folder)], check=False, stderr=subprocess.DEVNULL)


def sweep(root: Path) -> list[str]:
    """Remove the folders and files below ``root`` that nobody holds; returns their names."""
    return [entry.name for entry in root.iterdir() if _swept(entry)]


def _swept(entry: Path) -> bool:
    try:
        descriptor = os.open(entry / LOCK if entry.is_dir() else entry, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        with suppress(OSError):  # no lock yet, and nothing in it: its owner makes another one if it is alive
            entry.rmdir()
            return True
        return False
    try:
        if not try_lock(descriptor):
            return False
        if entry.is_dir():
            remove_tree(entry)
        else:
            entry.unlink(missing_ok=True)
    finally:
        os.close(descriptor)
    return True


def _owned_folder(root: Path, name: str) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=root))
        try:
            descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            continue  # swept before it had its lock
        if _holds(descriptor):
            return folder, descriptor


def _owned_file(root: Path) -> tuple[int, Path]:
    while True:
        descriptor, name = tempfile.mkstemp(dir=root)
        if _holds(descriptor):
            return descriptor, Path(name)


def _holds(descriptor: int) -> bool:
    """Take the lock of a new file; False, and the file closed, when it was swept before that."""
    lock(descriptor)
    if os.fstat(descriptor).st_nlink:
        return True
    os.close(descriptor)
    return False
