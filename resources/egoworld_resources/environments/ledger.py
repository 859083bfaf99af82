"""Which files of uv's cache were found to match their RECORD, so that a hardlink to one need not be read again."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Known:
    """A distribution whose files were read and found whole.

    shared: identities (``records.Files``) of the files it shares with the cache; own: the others, with their digests.
    """

    shared: frozenset[str]
    own: dict[str, str]


class Ledger:
    """Remembers distributions by name, version and digest of their RECORD; what was written to since is unknown again.

    Kept in ``path``, inside the cache. Reading 5 GB of a torch env takes a minute, asking the ledger a fraction of a
    second.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, Any] = {}
        self._learned = False
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return  # none yet or torn: everything is read once more
        if isinstance(told, dict):
            self._known = {str(key): value for key, value in told.items() if isinstance(value, dict)}

    def known(self, distribution: str) -> Known | None:
        """What is known of a distribution, by its key."""
        told = self._known.get(distribution)
        try:
            return Known(frozenset(told["shared"]), dict(told["own"])) if told else None
        except (KeyError, TypeError, ValueError):
            return None

    def learn(self, distribution: str, known: Known) -> None:
        """Remember a distribution that shares files; one that shares none is read anyway."""
        if known.shared:
            self._known[distribution] = {"shared": sorted(known.shared), "own": known.own}
            self._learned = True

    def save(self) -> None:
        """Write what was learned, whole or not at all; the caller holds the lock of the cache."""
        if not self._learned:
            return
        fresh = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        fresh.write_text(json.dumps(self._known), encoding="utf-8")
        fresh.replace(self._path)
