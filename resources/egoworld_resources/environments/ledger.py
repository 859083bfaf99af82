"""Which files of uv's cache were found to match their RECORD, so that a hardlink to one need not be read again."""

from __future__ import annotations

import json
import os
from pathlib import Path


class Ledger:
    """Remembers inode, size, modification time and digest; a file that was written to since is unknown again.

    Kept in ``path``, inside the cache. Reading 5 GB of a torch env takes a minute, asking the ledger a fraction of a
    second.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, str] = {}
        self._learned = False
        try:
            self._known = {str(key): str(value) for key, value in json.loads(path.read_text(encoding="utf-8")).items()}
        except (OSError, ValueError, AttributeError):
            return  # none yet or torn: everything is read once more

    def knows(self, found: os.stat_result, digest: str) -> bool:
        return self._known.get(_key(found)) == _value(found, digest)

    def learn(self, found: os.stat_result, digest: str) -> None:
        self._known[_key(found)] = _value(found, digest)
        self._learned = True

    def save(self) -> None:
        """Write what was learned, whole or not at all; the caller holds the lock of the cache."""
        if not self._learned:
            return
        fresh = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        fresh.write_text(json.dumps(self._known), encoding="utf-8")
        fresh.replace(self._path)


def _key(found: os.stat_result) -> str:
    return f"{found.st_dev}:{found.st_ino}"


def _value(found: os.stat_result, digest: str) -> str:
    return f"{found.st_size} {found.st_mtime_ns} {digest}"
