"""Small facts as objects: records/<kind>/<key>.json. What was read once is not fetched again while its ETag stands."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from egoworld_resources.artifacts.stored import StoredObject
from egoworld_resources.s3.objects import Objects

BATCH = 1_000
FEW = 16
AHEAD = 200
TABLE = "CREATE TABLE IF NOT EXISTS bodies (key TEXT PRIMARY KEY, tag TEXT, body BLOB) WITHOUT ROWID"


class Records:
    """The records of a bucket.

    file: an SQLite database of bodies by ETag, for this bucket alone. It only saves requests: it may be removed at any
    time, and what it lacks or holds of an older object is fetched.
    """

    def __init__(self, objects: Objects, file: Path) -> None:
        self._objects = objects
        self._file = file

    def write(self, kind: str, key: str, text: str | None) -> None:
        """Write, or with None remove, a record."""
        if text is None:
            self._objects.remove([name(kind, key)])
        else:
            self._objects.put(name(kind, key), text.encode())

    def read(self, kind: str, key: str) -> bytes | None:
        """A record's text, or None."""
        return self._objects.get(name(kind, key))

    def keys(self, kind: str) -> dict[str, StoredObject]:
        """The objects of a kind by key, in the order of the keys' parts; one request for a thousand."""
        top = f"records/{kind}".rstrip("/")
        found = {o.key[len(top) + 1 : -5]: o for o in self._objects.list(top) if o.key.endswith(".json")}
        return {key: found[key] for key in sorted(found, key=lambda key: f"{key}.json".split("/"))}

    def all(self, kind: str) -> Iterator[tuple[str, bytes]]:
        """Every record of a kind in key order; those that changed since the last time are fetched, many at once."""
        listed = list(self.keys(kind).items())
        for start in range(0, len(listed), BATCH):
            batch = listed[start : start + BATCH]
            bodies = self.bodies([stored for _, stored in batch])
            yield from ((key, bodies[stored.key]) for key, stored in batch if stored.key in bodies)

    def bodies(self, wanted: Sequence[StoredObject]) -> dict[str, bytes]:
        """The contents of at most BATCH objects by their full keys; one that was removed since is left out."""
        try:
            return self._bodies(wanted)
        except sqlite3.DatabaseError:
            for file in self._file.parent.glob(f"{self._file.name}*"):
                file.unlink(missing_ok=True)
            return self._bodies(wanted)

    def _bodies(self, wanted: Sequence[StoredObject]) -> dict[str, bytes]:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self._file, timeout=60)) as index:
            index.execute("PRAGMA journal_mode=WAL")
            index.execute(TABLE)
            marks = ",".join("?" * len(wanted))
            query = f"SELECT key, tag, body FROM bodies WHERE key IN ({marks})"
            known = {key: (tag, body) for key, tag, body in index.execute(query, [stored.key for stored in wanted])}
            found = {s.key: known[s.key][1] for s in wanted if s.tag and known.get(s.key, ("",))[0] == s.tag}
            missing = [stored for stored in wanted if stored.key not in found]
            fetched = zip(missing, list(self._objects.get_many(s.key for s in missing)), strict=True)
            new = [(stored.key, stored.tag, body) for stored, body in fetched if body is not None]
            with index:
                index.executemany("INSERT OR REPLACE INTO bodies VALUES (?, ?, ?)", new)
        return {**found, **{key: body for key, _, body in new}}


class ReadAhead(Records):
    """Records for one look at many of them: after a few single reads of a group its names are listed once.

    From then on what is not there costs no request, and what is there is read AHEAD records at a time in key order. A
    group is a kind, or what lies below one asset in a kind.
    """

    def __init__(self, objects: Objects, file: Path) -> None:
        super().__init__(objects, file)
        self._reads: dict[str, int] = {}
        self._listed: dict[str, tuple[list[StoredObject], dict[str, int]]] = {}
        self._held: dict[str, dict[str, bytes]] = {}

    def write(self, kind: str, key: str, text: str | None) -> None:
        super().write(kind, key, text)
        for known in (self._reads, self._listed, self._held):
            known.pop(group_of(kind, key), None)

    def read(self, kind: str, key: str) -> bytes | None:
        group = group_of(kind, key)
        self._reads[group] = self._reads.get(group, 0) + 1
        if self._reads[group] <= FEW:
            return super().read(kind, key)
        if group not in self._listed:
            stored = list(self.keys(group).values())
            self._listed[group] = stored, {s.key: number for number, s in enumerate(stored)}
        listed, numbers = self._listed[group]
        wanted = name(kind, key)
        if wanted not in numbers:
            return None
        if wanted not in self._held.get(group, {}):
            start = numbers[wanted]
            self._held[group] = self.bodies(listed[start : start + AHEAD])
        return self._held[group].get(wanted)


def group_of(kind: str, key: str) -> str:
    """The records that are listed together."""
    return f"{kind}/{key.partition('/')[0]}" if "/" in key else kind


def name(kind: str, key: str) -> str:
    """The object of a record."""
    return f"records/{kind}/{key}.json"
