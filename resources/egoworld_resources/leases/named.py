"""Many named locks in one file: a byte for each name, freed by the kernel when the holder is gone."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Self

from egoworld_resources.leases.locks import lock, open_lock, try_lock, unlock


class Leases:
    """Locks that one holder has, by name; closing it frees them all. Any number of names takes one descriptor."""

    _descriptor = -1

    def __init__(self, file: Path) -> None:
        self._descriptor = open_lock(file)

    def hold(self, name: str) -> None:
        """Hold a name together with others, as soon as nobody has it alone."""
        lock(self._descriptor, _byte_of(name), shared=True)

    def try_hold(self, name: str) -> bool:
        """Hold a name together with others if nobody has it alone now."""
        return try_lock(self._descriptor, _byte_of(name), shared=True)

    def hold_alone(self, name: str) -> None:
        """Hold a name alone, as soon as nobody else has it."""
        lock(self._descriptor, _byte_of(name))

    def try_alone(self, name: str) -> bool:
        """Hold a name alone if nobody else has it now."""
        return try_lock(self._descriptor, _byte_of(name))

    def release(self, name: str) -> None:
        """Give a name back."""
        unlock(self._descriptor, _byte_of(name))

    def close(self) -> None:
        """Give all names back."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

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
