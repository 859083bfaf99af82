"""Who makes an artifact now: one process of this machine at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from egoworld_resources.leases.locks import open_lock

FILE = "making.lock"
BYTES = 7
"""Of the digest of a name; the number that they make fits into a file offset."""


@contextmanager
def claimed(folder: Path, names: Iterable[str]) -> Iterator[None]:
    """Hold names of artifacts; waits while another process holds one. The kernel frees them when this one dies.

    Each name is one byte of one file that stays empty, locked by fcntl(2), so that millions of names leave nothing
    behind. All are taken in one order, so nobody waits in a circle. Threads of one process are not kept apart.
    """
    places = sorted({int.from_bytes(sha256(name.encode()).digest()[:BYTES], "big") for name in names})
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = open_lock(folder / FILE)
    try:
        for place in places:
            fcntl.lockf(descriptor, fcntl.LOCK_EX, 1, place)
        yield
    finally:
        os.close(descriptor)
