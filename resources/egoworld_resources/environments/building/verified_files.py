"""Which files of uv's cache were found to match their RECORD, so that a hardlink to one need not be read again."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

TABLE = "CREATE TABLE IF NOT EXISTS known (distribution TEXT PRIMARY KEY, shared TEXT, own TEXT) WITHOUT ROWID"


@dataclass(frozen=True)
class Known:
    """A distribution whose files were read and found whole.

    shared: identities (``records.Files``) of the files it shares with the cache; own: the others, with their digests.
    """

    shared: frozenset[str]
    own: dict[str, str]


class Ledger:
    """Remembers distributions by name, version and digest of their RECORD; what was written to since is unknown again.

    An SQLite file at ``path``, inside the cache: an env asks for its own distributions, whatever else the cache holds.
    Reading 5 GB of a torch env takes a minute, asking the ledger a fraction of a second.
    """

    @classmethod
    def of(cls, cache: Path) -> Ledger:
        """That of a cache."""
        return cls(cache / "egoworld-ledger.sqlite")

    def __init__(self, path: Path) -> None:
        self._path = path
        self._learned: dict[str, Known] = {}

    def known(self, distributions: Iterable[str]) -> dict[str, Known]:
        """What is known of some distributions, by their keys. A damaged file counts as none: all is read once more."""
        query = "SELECT shared, own FROM known WHERE distribution = ?"
        found: dict[str, Known] = {}
        if self._path.is_file():
            with suppress(sqlite3.Error, ValueError, TypeError), closing(sqlite3.connect(self._path)) as connection:
                for distribution in distributions:
                    for shared, own in connection.execute(query, (distribution,)):
                        found[distribution] = Known(frozenset(json.loads(shared)), dict(json.loads(own)))
        return found | self._learned

    def learn(self, distribution: str, known: Known) -> None:
        """Remember a distribution that shares files; one that shares none is read anyway."""
        if known.shared:
            self._learned[distribution] = known

    def save(self) -> None:
        """Write what was learned, whole or not at all; others may do so at the same time."""
        if not self._learned:
            return
        try:
            self._write()
        except sqlite3.OperationalError:  # busy or full: what is not remembered is read once more
            return
        except sqlite3.DatabaseError:  # damaged: it only saves reading, so start over
            self._path.unlink()
            self._write()

    def _write(self) -> None:
        rows = [(key, json.dumps(sorted(known.shared)), json.dumps(known.own)) for key, known in self._learned.items()]
        with closing(sqlite3.connect(self._path)) as connection, connection:
            connection.execute(TABLE)
            connection.executemany("INSERT OR REPLACE INTO known VALUES (?, ?, ?)", rows)
