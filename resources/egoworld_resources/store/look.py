"""One look at everything that the index holds, as columns of numbers: a line per video, in the order of their keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, Select, func, select

from egoworld_resources.artifacts.made import Made
from egoworld_resources.artifacts.manifest import Recipe
from egoworld_resources.errors import DamagedArtifact, IndexAway
from egoworld_resources.store.index import Index
from egoworld_resources.store.known import artifact, failure, recipe_in, texts, video
from egoworld_resources.store.rows import AT_ONCE, DIGITS
from egoworld_resources.store.tables import ABOUT, FAILURES, KINDS, MADE, NAMES, RECIPES, VIDEOS

Numbers = npt.NDArray[np.int64]
HEAD = ("video", "version", "kind", "odd")


@dataclass(frozen=True)
class Kind:
    """What artifacts have in common; numbers of texts, 0 for none. shape: names of the inputs."""

    recipe: Recipe | None
    shape: tuple[str, ...]
    quarantine: int
    damage: int


@dataclass
class Column:
    """One asset over all videos: numbers of version, kind and odd fingerprint, 0 where there is nothing.

    used: of each input that was ever used, the version that each artifact was made from.
    """

    version: Numbers
    kind: Numbers
    odd: Numbers
    used: dict[str, Numbers] = field(default_factory=dict[str, Numbers])


class Look:
    """All rows of some assets, read at one moment. videos: only these; None: all that are known.

    It answers ``current`` and ``recorded`` as a store does, as far as that decides how an artifact stands.
    """

    def __init__(self, index: Index, assets: Sequence[str], videos: Sequence[str] | None = None) -> None:
        self._index = index
        self._texts: dict[int, str] = {0: ""}
        index.ask(lambda connection: self._read(connection, assets, videos))

    def _read(self, connection: Connection, assets: Sequence[str], videos: Sequence[str] | None) -> None:
        if not connection.execute(select(ABOUT.c.complete)).scalar():
            raise IndexAway(f"{self._index} is being made again")
        self._numbers = _numbers(connection, assets)
        asked = select(VIDEOS).where((VIDEOS.c.source != 0) | (VIDEOS.c.damage != 0))
        few = videos is not None and len(videos) <= AT_ONCE
        asked = asked.where(VIDEOS.c.key.in_(videos or ())) if few else asked
        wanted = None if videos is None or few else set(videos)
        rows = sorted(connection.execute(asked).all(), key=attrgetter("key"))
        rows = rows if wanted is None else [row for row in rows if row.key in wanted]
        self.videos: list[str] = [row.key for row in rows]
        self.whole = videos is None
        self._rows = rows
        self._only = None if not few else [int(row.id) for row in rows]
        self._line = {key: line for line, key in enumerate(self.videos)}
        ids = np.array([row.id for row in rows], dtype=np.int64)
        self._lines = np.full(int(ids.max(initial=0)) + 1, -1, dtype=np.int64)
        self._lines[ids] = np.arange(len(ids))
        self.source = np.array([row.source for row in rows], dtype=np.int64)
        self.bytes = np.array([row.bytes for row in rows], dtype=np.int64)
        self.damaged = np.array([row.damage for row in rows], dtype=np.int64)
        self.kinds = self._kinds(connection)
        self.columns = {asset: self._column(connection, asset) for asset in assets}
        self.failures = {asset: self._failures(connection, asset) for asset in assets}

    def text(self, number: int) -> str:
        """The text of a number."""
        if number not in self._texts:
            self.learn([number])
        return self._texts[number]

    def learn(self, numbers: Sequence[int]) -> None:
        """Read many texts at once."""
        new = set(numbers) - self._texts.keys()
        if new:
            self._texts.update(self._index.ask(lambda connection: texts(connection, new)))

    def line(self, video: str) -> int:
        """The place of a video in every column. Raises KeyError."""
        return self._line[video]

    def arrived_at(self) -> list[str]:
        """When each video arrived."""
        return [row.arrived_at for row in self._rows]

    def current(self, asset: str, video: str) -> Made | None:
        """The live artifact as the index holds it; without rows, seconds, bytes and frames. Raises DamagedArtifact."""
        line, column = self._line.get(video), self.columns[asset]
        if line is None or not column.kind[line]:
            return None
        kind = self.kinds[int(column.kind[line])]
        if kind.recipe is None:
            raise DamagedArtifact(self.text(kind.damage))
        row: dict[str, Any] = dict.fromkeys(("rows", "seconds", "bytes", "frames", "checks"), 0)
        numbers = {"version": int(column.version[line]), "odd": int(column.odd[line]), "quarantine": kind.quarantine}
        used = [int(column.used[name][line]) for name in kind.shape]
        self.learn([*numbers.values(), *used])
        names = {**self._texts, -1: ",".join(kind.shape)}
        found = artifact(asset, {**row, **numbers, "shape": -1, "key": video, "damage": 0}, used, names, kind.recipe)
        return found if isinstance(found, Made) else None

    def recorded(self, kind: str, key: str) -> dict[str, Any] | None:
        """What is recorded of a video or a failure, as far as the index holds it. Raises DamagedArtifact."""
        if kind == "failures":
            asset, _, name = key.partition("/")
            row = self.failures[asset].get(self._line.get(name, -1))
            return failure(row[0], self.text(row[1]), row[2]) if row else None
        line = self._line.get(key)
        if line is None:
            return None
        row = self._rows[line]
        if row.source not in self._texts or row.damage not in self._texts:
            ahead = slice(line, line + AT_ONCE)  # who asks for one goes on with the next
            self.learn([*self.source[ahead].tolist(), *self.damaged[ahead].tolist()])
        found = video(row, self._texts)
        if isinstance(found, DamagedArtifact):
            raise found
        return found if isinstance(found, dict) else None

    def keys(self, kind: str) -> list[str]:
        """Keys of the videos that are looked at."""
        return self.videos if kind == "videos" else []

    def amounts(self, asset: str, lines: Sequence[int] | None = None) -> Mapping[str, npt.NDArray[np.float64]]:
        """Rows, seconds, bytes and frames of an asset by video; 0 where there is nothing."""
        names = ("rows", "seconds", "bytes", "frames")
        found = {name: np.zeros(len(self.videos)) for name in names}
        asked = self._of_asset(select(MADE.c.video, *(MADE.c[name] for name in names)), MADE, asset)
        if lines is not None:
            asked = asked.where(MADE.c.video.in_([int(self._rows[line].id) for line in lines]))
        said = self._index.ask(lambda connection: [tuple(row) for row in connection.execute(asked)])
        rows = np.array(said, dtype=np.float64).reshape(-1, 5)
        at, there = self._places(rows[:, 0].astype(np.int64))
        for number, name in enumerate(names, 1):
            found[name][at] = rows[there, number]
        return found

    def _kinds(self, connection: Connection) -> dict[int, Kind]:
        recipes = connection.execute(select(RECIPES.c.id, RECIPES.c.body))
        bodies = {row.id: recipe_in(row.body) for row in recipes}
        rows = connection.execute(select(KINDS)).all()
        self._texts.update(texts(connection, {row.shape for row in rows}))
        return {
            row.id: Kind(
                bodies.get(row.recipe), tuple(filter(None, self.text(row.shape).split(","))), row.quarantine, row.damage
            )
            for row in rows
        }

    def _column(self, connection: Connection, asset: str) -> Column:
        version, kind, odd = (np.zeros(len(self.videos), dtype=np.int64) for _ in HEAD[1:])
        column = Column(version, kind, odd)
        if asset not in self._numbers:
            return column
        line, length = func.aggregate_strings(MADE.c.line, ""), func.length(MADE.c.line)
        for used in connection.execute(self._of_asset(select(length).distinct(), MADE, asset)).scalars().all():
            said = connection.execute(self._of_asset(select(line), MADE, asset).where(length == used)).scalar() or ""
            found = np.frombuffer(bytes.fromhex(said), dtype=">u4").reshape(-1, used // DIGITS).astype(np.int64)
            self._fill(column, found)
        return column

    def _fill(self, column: Column, found: Numbers) -> None:
        at, there = self._places(found[:, 0])
        column.version[at], column.kind[at], column.odd[at] = (found[there, n] for n in (1, 2, 3))
        for kind in np.unique(found[there, 2]):
            of_kind = found[there, 2] == kind
            for number, name in enumerate(self.kinds[int(kind)].shape if kind else (), len(HEAD)):
                used = column.used.setdefault(name, np.zeros(len(self.videos), dtype=np.int64))
                used[at[of_kind]] = found[there, number][of_kind]

    def _failures(self, connection: Connection, asset: str) -> dict[int, tuple[str, int, str | None]]:
        asked = self._of_asset(select(FAILURES).where(FAILURES.c.fingerprint != ""), FAILURES, asset)
        found: dict[int, tuple[str, int, str | None]] = {}
        for row in connection.execute(asked):
            if row.video < len(self._lines) and self._lines[row.video] >= 0:
                found[int(self._lines[row.video])] = (row.fingerprint, row.reason, row.kind)
        return found

    def _of_asset(self, asked: Select[Any], table: Any, asset: str) -> Select[Any]:
        asked = asked.where(table.c.asset == self._numbers.get(asset, -1))
        return asked if self._only is None else asked.where(table.c.video.in_(self._only))

    def _places(self, ids: Numbers) -> tuple[Numbers, npt.NDArray[np.bool_]]:
        """Lines of the videos of some rows, and which rows are of a video that is looked at."""
        lines = np.where(ids < len(self._lines), self._lines[np.minimum(ids, len(self._lines) - 1)], -1)
        there = lines >= 0
        return lines[there], there


def _numbers(connection: Connection, assets: Sequence[str]) -> dict[str, int]:
    return {row.short: row.id for row in connection.execute(select(NAMES).where(NAMES.c.short.in_(assets)))}


def some_with(connection: Connection, asset: str, count: int) -> list[str]:
    """Videos with a live version of an asset, in the order of their keys; of many some, as evenly as their numbers."""
    number = select(NAMES.c.id).where(NAMES.c.short == asset).scalar_subquery()
    live = (MADE.c.asset == number) & (func.substr(MADE.c.line, DIGITS + 1, DIGITS) != "0" * DIGITS)
    every = max(1, (connection.execute(select(func.count()).select_from(MADE).where(live)).scalar() or 0) // count)
    asked = select(VIDEOS.c.key).join(MADE, MADE.c.video == VIDEOS.c.id).where(live, MADE.c.video % every == 0)
    return sorted(connection.execute(asked).scalars())
