"""What waits for this machine: each cause once, and the stages of videos that it holds up.

An SQLite file beside the store, since the store may be what is at fault. Its space is taken when it is made, so that it
can be written while the disk is full. Nothing of it decides what is stale: without it only the waiting is forgotten.
"""

from __future__ import annotations

import logging
import random
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

from egoworld_resources.faults.causes import Cause, Reach, Work
from egoworld_resources.settings import Settings

log = logging.getLogger(__name__)

TABLES = """
CREATE TABLE IF NOT EXISTS causes (
    key TEXT PRIMARY KEY, title TEXT, detail TEXT, fix TEXT, reach TEXT, sure INTEGER,
    since REAL, next REAL, tries INTEGER, hits INTEGER, open INTEGER
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS items (
    stage TEXT, video TEXT, cause TEXT, env TEXT, since REAL, PRIMARY KEY (video, stage)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_cause ON items (cause, since);
CREATE TABLE IF NOT EXISTS reserve (data BLOB);
"""
RESERVE_BYTES, PIECE = 1 << 20, 1 << 14
"""Taken when the file is made: enough for some ten thousand items, and for SQLite's journal of as much."""
SUSPECTED = 3
"""Videos in a row that must meet a cause that is not sure before it holds up others."""
JITTER = 0.1
NO_VIDEO = ""
"""In place of a video: a step waits that belongs to none, as the inbox does."""
COUNTED = "SELECT cause, stage, SUM(video != '') FROM items GROUP BY cause, stage"
EVERYTHING = "*"
"""In place of a cause: retry no matter what is known."""


@dataclass(frozen=True)
class Waiting:
    """A cause and what waits for it. next: when it is tried again (s since 1970); gone: one got through since, and the
    rest is being started. stages: how many videos by stage; 0 where the step itself waits.
    """

    cause: Cause
    since: float
    next: float
    tries: int
    gone: bool
    stages: dict[str, int]

    @property
    def videos(self) -> int:
        return sum(self.stages.values())


@dataclass(frozen=True)
class Item:
    """A stage of a video that waits, since it was held up or tried last (s since 1970)."""

    stage: str
    video: str
    cause: str
    since: float


def in_words(waiting: Waiting) -> str:
    """A cause with what waits for it, in one sentence."""
    cause, stages = waiting.cause, ", ".join(stage for stage, videos in waiting.stages.items() if videos)
    counts = [f"the {step} waits" for step, videos in waiting.stages.items() if not videos]
    if stages:
        counts.append(f"{waiting.videos} video{'s wait' if waiting.videos > 1 else ' waits'} at {stages}")
    many = " and ".join(counts)
    then = f"next try {clock(waiting.next)}" if waiting.next > time.time() else "tried as soon as it may be gone"
    then = "it is gone, they are being started" if waiting.gone else then
    return f"{cause.title}: {many} since {clock(waiting.since)}, {then}; {cause.fix} ({cause.detail})"


def clock(at: float) -> str:
    """A time for people, in UTC; with the date if it is not today."""
    then, now = datetime.fromtimestamp(at, UTC), datetime.now(UTC)
    return then.strftime("%H:%M:%S UTC" if then.date() == now.date() else "%Y-%m-%d %H:%M UTC")


def ledger_of(settings: Settings) -> Waits:
    """The ledger of an installation."""
    return Waits(settings.home / "waits.sqlite", settings.retry_first_s, settings.retry_longest_s)


class Waits:
    """The ledger in a file. first_s, longest_s: seconds until a cause is tried again, at first and at most."""

    def __init__(self, file: Path, first_s: float, longest_s: float) -> None:
        self._file = file
        self._first_s = first_s
        self._longest_s = max(first_s, longest_s)

    def prepare(self) -> None:
        """Make the file, with its space, while there is space."""
        if not self._file.is_file():
            self._write(lambda _db: None)

    def hit(self, cause: Cause, work: Work, videos: Collection[str]) -> bool:
        """A cause was met: it is tried again later, and these videos wait for it. False when it cannot be written."""

        def write(db: sqlite3.Connection) -> None:
            now = time.time()
            known = db.execute("SELECT next, tries, hits, open FROM causes WHERE key = ?", (cause.key,)).fetchone()
            last, tries, hits, still = known or (now, 0, 0, 0)
            since, (tries, hits) = ("since", (tries, hits)) if still else ("excluded.since", (0, 0))
            due = not still or last <= now
            tries += due
            then = now + self.delay(tries) if due else last
            db.execute(
                "INSERT INTO causes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1) ON CONFLICT (key) DO UPDATE SET "
                f"detail = excluded.detail, since = {since}, next = excluded.next, tries = excluded.tries, "
                "hits = excluded.hits, open = 1",
                (
                    *(cause.key, cause.title, cause.detail, cause.fix, cause.reach, cause.sure),
                    *(now, then, tries, hits + len(videos)),
                ),
            )
            _add(db, cause.key, work, videos, now, tried=True)

        return self._write(write)

    def join(self, cause: Cause, work: Work, videos: Collection[str]) -> bool:
        """These videos wait for a cause too; they did not try."""
        return self._write(lambda db: _add(db, cause.key, work, videos, time.time()))

    def settle(self, stage: str, videos: Collection[str], got_through: bool = False) -> None:
        """These no longer wait at a stage. got_through: because the stage could be run: what held it up is gone."""

        def write(db: sqlite3.Connection) -> None:
            for video in videos:
                found = db.execute("SELECT cause FROM items WHERE stage = ? AND video = ?", (stage, video)).fetchone()
                if found:
                    db.execute("DELETE FROM items WHERE stage = ? AND video = ?", (stage, video))
                    if got_through:
                        db.execute("UPDATE causes SET open = 0 WHERE key = ?", found)
            if got_through:
                db.execute(
                    "UPDATE causes SET hits = 0 WHERE NOT sure AND key IN (SELECT cause FROM items WHERE stage = ?)",
                    (stage,),
                )
            db.execute("DELETE FROM causes WHERE NOT open AND key NOT IN (SELECT cause FROM items)")

        if not self._empty():
            self._write(write)

    def try_now(self) -> None:
        """A person asks: what is known to be at fault is tried once, whenever it was due."""
        if not self._empty():
            self._write(lambda db: db.execute("UPDATE causes SET next = ? WHERE open", (time.time(),)))

    def forget(self, items: Collection[Item]) -> None:
        """Remove items, and causes for which nothing waits any more."""

        def write(db: sqlite3.Connection) -> None:
            pairs = [(item.stage, item.video) for item in items]
            db.executemany("DELETE FROM items WHERE stage = ? AND video = ?", pairs)
            db.execute("DELETE FROM causes WHERE key NOT IN (SELECT cause FROM items)")

        if items:
            self._write(write)

    def holding(self, work: Work, tried: str = "") -> Cause | None:
        """The cause for which work is not even tried now; ``tried``: the key of one that is being tried."""
        if tried == EVERYTHING:
            return None
        for row in self._rows(
            "SELECT * FROM causes WHERE open AND next > ? AND key != ? AND (sure OR hits >= ?)",
            (time.time(), tried, SUSPECTED),
        ):
            cause = _cause(row)
            met = "SELECT 1 FROM items WHERE cause = ? AND {} = ? LIMIT 1"
            match cause.reach:
                case "all":
                    return cause
                case "gpu" if work.gpu:
                    return cause
                case "env" if self._rows(met.format("env"), (cause.key, work.env)):
                    return cause
                case "stage" if self._rows(met.format("stage"), (cause.key, work.stage)):
                    return cause
                case _:
                    pass
        return None

    def waiting(self) -> list[Waiting]:
        """Every cause for which something waits, the oldest first."""
        counted: dict[str, dict[str, int]] = {}
        for cause, stage, count in self._rows(COUNTED):
            counted.setdefault(cause, {})[stage] = count
        rows = self._rows("SELECT * FROM causes ORDER BY since, key")
        return [
            Waiting(_cause(row), row["since"], row["next"], row["tries"], not row["open"], counted[row["key"]])
            for row in rows
            if row["key"] in counted
        ]

    def items(self, cause: str, at_most: int = -1) -> list[Item]:
        """Videos that wait for a cause, in the order in which they are to be tried: the longest without a try first."""
        query = (
            "SELECT stage, video, cause, since FROM items WHERE cause = ? AND video != ? "
            "ORDER BY since, stage, video LIMIT ?"
        )
        return [Item(*row) for row in self._rows(query, (cause, NO_VIDEO, at_most))]

    def of(self, video: str) -> dict[str, str]:
        """What a video waits for, in a few words, by stage."""
        query = "SELECT items.stage, causes.title FROM items JOIN causes ON causes.key = items.cause WHERE video = ?"
        return {str(row[0]): str(row[1]) for row in self._rows(query, (video,))}

    def delay(self, tries: int) -> float:
        """Seconds until the next try, twice as long after each, a little uneven so that machines drift apart."""
        exact = min(self._first_s * 2.0 ** min(tries - 1, 32), self._longest_s)
        return exact * random.uniform(1 - JITTER, 1 + JITTER)

    def _empty(self) -> bool:
        return not self._rows("SELECT 1 FROM causes LIMIT 1")

    def _rows(self, query: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """Rows of a query; empty if there is no file, or it cannot be read."""
        if not self._file.is_file():
            return []
        try:
            with closing(sqlite3.connect(self._file, timeout=30)) as db:
                db.row_factory = sqlite3.Row
                return db.execute(query, values).fetchall()
        except sqlite3.Error as error:
            log.warning("%s cannot be read: %s", self._file, error)
            return []

    def _write(self, write: Callable[[sqlite3.Connection], object]) -> bool:
        """Whether it could be written. A damaged file is begun again."""
        try:
            try:
                with self._opened() as db:
                    write(db)
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError:
                self._file.unlink(missing_ok=True)
                with self._opened() as db:
                    write(db)
        except (sqlite3.Error, OSError) as error:
            log.warning("%s cannot be written: %s", self._file, error)
            return False
        return True

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """The file, made when it is not there, in one transaction."""
        made = self._file.is_file()
        if not made:
            self._file.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self._file, timeout=30, isolation_level=None)) as db:
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA journal_mode = PERSIST")
            db.executescript(TABLES)
            if not made:
                _take_space(db)
            db.execute("BEGIN IMMEDIATE")
            yield db  # whatever ends the block early: what is closed without COMMIT is rolled back
            db.execute("COMMIT")


def _take_space(db: sqlite3.Connection) -> None:
    """Fill and empty the file, which keeps its size and that of its journal."""
    pieces = range(RESERVE_BYTES // PIECE)
    for step in (
        lambda: db.executemany("INSERT INTO reserve VALUES (randomblob(?))", [(PIECE,) for _ in pieces]),
        lambda: db.execute("UPDATE reserve SET data = randomblob(?)", (PIECE,)),
        lambda: db.execute("DELETE FROM reserve"),
    ):
        db.execute("BEGIN IMMEDIATE")
        step()
        db.execute("COMMIT")


def _add(
    db: sqlite3.Connection, cause: str, work: Work, videos: Collection[str], now: float, *, tried: bool = False
) -> None:
    """Videos wait for a cause. tried: they met it just now, and come after those that may get through."""
    since = "excluded.since" if tried else "since"
    db.executemany(
        "INSERT INTO items VALUES (?, ?, ?, ?, ?) ON CONFLICT (video, stage) DO UPDATE SET "
        f"cause = excluded.cause, env = excluded.env, since = {since}",
        [(work.stage, video, cause, work.env, now) for video in videos],
    )


def _cause(row: sqlite3.Row) -> Cause:
    reach: Reach = row["reach"] if row["reach"] in get_args(Reach) else "video"
    return Cause(row["key"], row["title"], row["detail"], row["fix"], reach, bool(row["sure"]))
