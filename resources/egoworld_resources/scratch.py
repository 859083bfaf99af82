"""Scratch folders that are gone when their owner is, however it ended."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = "owner.lock"


@contextmanager
def scratch_folder(root: Path, name: str) -> Iterator[Path]:
    """A new folder below ``root``, removed at the end; folders whose owners died are removed on the way in."""
    root.mkdir(parents=True, exist_ok=True)
    sweep(root)
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=root))
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def sweep(root: Path) -> list[str]:
    """Remove the folders below ``root`` that nobody holds; returns their names."""
    removed: list[str] = []
    for folder in root.iterdir():
        try:
            descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue  # no lock yet: its owner is about to take it
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
            removed.append(folder.name)
        except BlockingIOError:
            pass
        finally:
            os.close(descriptor)
    return removed
