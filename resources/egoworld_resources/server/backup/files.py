"""How a backup lies on disk: contents once each, under their sha256, and a list of objects for each time.

FOLDER/contents/ab/abcd…          bytes of objects, of all times together
FOLDER/backups/<time>/            one backup; whole when it bears its name
    backup.json                   what it is: versions, counts, sha256 of the other files
    objects.sqlite                every object of the buckets: bytes, ETag, sha256
    postgres.dump                 the database, as pg_dump writes it
    env, egoworld.toml            settings and secrets (mode 0600), when there were any
"""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from egoworld_resources.artifacts.manifest import StoredFile, file_digest
from egoworld_resources.errors import DamagedArtifact, UnknownName

FORMAT = 1
FACTS = "backup.json"
OBJECTS = "objects.sqlite"
DUMP = "postgres.dump"
TABLE = """CREATE TABLE objects
(bucket TEXT, key TEXT, bytes INTEGER, tag TEXT, sha256 TEXT, PRIMARY KEY (bucket, key)) WITHOUT ROWID"""


@dataclass(frozen=True)
class Copied:
    """One object in a backup. tag: its ETag on the server that it was copied from."""

    bucket: str
    key: str
    bytes: int
    tag: str
    sha256: str


class Total(BaseModel):
    """Objects and their bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    objects: int
    bytes: int


class Facts(BaseModel):
    """What backup.json says. new: what was copied, as no earlier backup had it; tables: rows of the database."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    made_at: str
    seconds: float
    host: str
    egoworld: str
    dagster: str
    postgres: int
    tables: dict[str, int]
    buckets: dict[str, Total]
    new: Total
    files: tuple[StoredFile, ...]


class Contents:
    """Bytes by their sha256. What is there is whole: it is written beside and renamed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "contents"
        self._incoming = folder / "incoming"

    def prepare(self) -> None:
        """Make the folders; what an interrupted backup left half-written goes."""
        for folder in (self.folder, self._incoming):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in self._incoming.iterdir():
            left.unlink()

    def path(self, sha256: str) -> Path:
        return self.folder / sha256[:2] / sha256

    def has(self, sha256: str, size: int) -> bool:
        """Whether these bytes are there, by their number."""
        path = self.path(sha256)
        return path.is_file() and path.stat().st_size == size

    def add(self, blocks: Iterable[bytes]) -> tuple[str, int]:
        """Keep some bytes; their sha256 and number."""
        part, digest, size = self._incoming / secrets.token_hex(8), hashlib.sha256(), 0
        try:
            with part.open("xb") as out:
                for block in blocks:
                    digest.update(block)
                    size += len(block)
                    out.write(block)
            whole = self.path(digest.hexdigest())
            whole.parent.mkdir(mode=0o700, exist_ok=True)
            part.rename(whole)
        finally:
            part.unlink(missing_ok=True)
        return digest.hexdigest(), size

    def fault(self, sha256: str, size: int) -> str:
        """What is wrong with the bytes, each of which is read; empty when nothing is."""
        path = self.path(sha256)
        if not self.has(sha256, size):
            return f"{path} is missing or has another size than {size} bytes"
        return "" if file_digest(path) == sha256 else f"{path} is damaged"

    def sweep(self, named: set[str]) -> int:
        """Remove what no backup names; how many files."""
        gone = [file for file in self.folder.glob("??/*") if file.name not in named]
        for file in gone:
            file.unlink()
        return len(gone)


class Listing:
    """The objects of one backup."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def make(self) -> None:
        with closing(sqlite3.connect(self._file)) as index:
            index.execute(TABLE)
            index.commit()

    def add(self, copied: Iterable[Copied]) -> None:
        rows = [(one.bucket, one.key, one.bytes, one.tag, one.sha256) for one in copied]
        with closing(sqlite3.connect(self._file)) as index, index:
            index.executemany("INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?)", rows)

    def known(self, bucket: str, keys: Sequence[str]) -> dict[str, Copied]:
        """Those of at most a thousand keys that it has."""
        marks = ",".join("?" * len(keys))
        return {one.key: one for one in self._rows(f"bucket = ? AND key IN ({marks})", (bucket, *keys))}

    def of(self, bucket: str, where: str = "TRUE") -> Iterator[Copied]:
        """The objects of a bucket in the order of their keys; ``where``: a condition on ``key``."""
        return self._rows(f"bucket = ? AND ({where}) ORDER BY key", (bucket,))

    def all(self) -> Iterator[Copied]:
        return self._rows("TRUE", ())

    def totals(self) -> dict[str, Total]:
        with closing(sqlite3.connect(self._file)) as index:
            found = index.execute("SELECT bucket, count(*), sum(bytes) FROM objects GROUP BY bucket").fetchall()
        return {bucket: Total(objects=count, bytes=size) for bucket, count, size in found}

    def _rows(self, condition: str, values: tuple[str, ...]) -> Iterator[Copied]:
        query = f"SELECT bucket, key, bytes, tag, sha256 FROM objects WHERE {condition}"
        with closing(sqlite3.connect(f"file:{self._file}?mode=ro", uri=True)) as index:
            for row in index.execute(query, values):
                yield Copied(*row)


@dataclass(frozen=True)
class Backup:
    """One backup that is whole."""

    folder: Path
    facts: Facts

    @property
    def listing(self) -> Listing:
        return Listing(self.folder / OBJECTS)


def backups(folder: Path) -> list[Backup]:
    """The whole backups below a folder, the oldest first. Raises DamagedArtifact for one that cannot be read."""
    found: list[Backup] = []
    for file in sorted(folder.glob(f"backups/[!.]*/{FACTS}")):
        try:
            facts = Facts.model_validate_json(file.read_bytes())
        except ValidationError as error:
            raise DamagedArtifact(f"{file} cannot be read ({error}); another version of egoworld wrote it?") from error
        found.append(Backup(file.parent, facts))
    return found


def chosen(folder: Path, name: str = "") -> Backup:
    """The backup of that name, or the newest. Raises UnknownName."""
    found = {backup.folder.name: backup for backup in backups(folder)}
    if not found or (name and name not in found):
        raise UnknownName(f"backup in {folder}", name or "of any time", found)
    return found[name or max(found)]
