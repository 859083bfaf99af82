"""Many named locks in one file: a byte for each name, freed by the kernel when the holder is gone."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Self

from egoworld_resources.leases.locks import open_lock


class Leases:
    """Locks that one holder has, by name; closing it frees them all.

    They are open file description locks (Linux): two holders of one process exclude each other too, and any number
    of names takes one descriptor.
    """

    _descriptor = -1

    def __init__(self, file: Path) -> None:
        self._descriptor = open_lock(file)

    def hold(self, name: str) -> None:
        """Hold a name together with others, as soon as nobody has it alone."""
        self._lock(fcntl.F_OFD_SETLKW, fcntl.F_RDLCK, name)

    def try_hold(self, name: str) -> bool:
        """Hold a name together with others if nobody has it alone now."""
        return self._try(fcntl.F_RDLCK, name)

    def hold_alone(self, name: str) -> None:
        """Hold a name alone, as soon as nobody else has it."""
        self._lock(fcntl.F_OFD_SETLKW, fcntl.F_WRLCK, name)

    def try_alone(self, name: str) -> bool:
        """Hold a name alone if nobody else has it now."""
        return self._try(fcntl.F_WRLCK, name)

    def release(self, name: str) -> None:
        """Give a name back."""
        self._lock(fcntl.F_OFD_SETLK, fcntl.F_UNLCK, name)

    def close(self) -> None:
        """Give all names back."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _try(self, kind: int, name: str) -> bool:
        try:
            self._lock(fcntl.F_OFD_SETLK, kind, name)
        except BlockingIOError:
            return False
        return True

    def _lock(self, command: int, kind: int, name: str) -> None:
        fcntl.fcntl(self._descriptor, command, struct.pack("hhqqi4x", kind, os.SEEK_SET, _byte_of(name), 1, 0))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()


MAKING = "making.lock"


@contextmanager
def making_lock(folder: Path, names: Iterable[str]) -> Iterator[None]:
    """Be the one that makes some artifacts; waits while another process or thread makes one of them.

    All are taken in one order, so nobody waits in a circle. The kernel frees them when this process dies, and the file
    stays empty however many names there ever were.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with Leases(folder / MAKING) as leases:
        for name in sorted(set(names), key=_byte_of):
            leases.hold_alone(name)
        yield


def _byte_of(name: str) -> int:
    """The place of a name in the file: seven bytes of its digest fit into a file offset."""
    return int.from_bytes(sha256(name.encode()).digest()[:7], "big")
