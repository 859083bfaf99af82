"""Which objects of the inbox bucket were dealt with: an index on this machine that only saves work."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

TABLE = """CREATE TABLE IF NOT EXISTS seen
(key TEXT, identity TEXT, token TEXT, PRIMARY KEY (key, token)) WITHOUT ROWID"""
MANY = 500


class Seen:
    """Identities of objects by key. file: may be removed at any time; the store then shows what was taken.

    What a tick adds bears its token and counts from ``settle`` with that token on, which is when Dagster has kept the
    tick. What another tick added, one that never counted, is dropped.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def settle(self, token: str) -> None:
        """Let what was added under a token count and drop what was added under others; without one drop everything."""
        with self._open() as index:
            if not token:
                index.execute("DELETE FROM seen")
                return
            index.execute("INSERT OR REPLACE INTO seen SELECT key, identity, '' FROM seen WHERE token = ?", (token,))
            index.execute("DELETE FROM seen WHERE token != ''")

    def add(self, objects: Iterable[tuple[str, str]], token: str) -> None:
        """Objects (key, identity) that a tick dealt with."""
        with self._open() as index:
            rows = ((key, identity, token) for key, identity in objects)
            index.executemany("INSERT OR REPLACE INTO seen VALUES (?, ?, ?)", rows)

    def known(self, keys: Iterable[str]) -> dict[str, str]:
        """Identities of those among some keys that were dealt with."""
        wanted, found = list(keys), dict[str, str]()
        with self._open() as index:
            for start in range(0, len(wanted), MANY):
                some = wanted[start : start + MANY]
                marks = ",".join("?" * len(some))
                found |= dict(
                    index.execute(f"SELECT key, identity FROM seen WHERE token = '' AND key IN ({marks})", some)
                )
        return found

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self._file, timeout=20)) as index, index:
            index.execute(TABLE)
            yield index
