"""Files that must survive a crash, and a full disk named as such."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from egoworld_resources.errors import DiskFull
from egoworld_runner.space import FULL


@contextmanager
def naming_a_full_disk(folder: Path) -> Iterator[None]:
    """Turn "no space left" below a folder into DiskFull, which says where and what to do.

    The folder counts where the error names no file.
    """
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            named = isinstance(error.filename, str) and Path(error.filename).is_absolute()
            where = Path(error.filename).parent if named else folder
            raise DiskFull(f"no space left in {where} ({error.strerror}); free some", where) from error
        raise


def sync_tree(folder: Path) -> None:
    """Flush every file and folder below to the disk."""
    for path in [*folder.rglob("*"), folder]:
        sync(path)


def sync(path: Path) -> None:
    """Flush a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
