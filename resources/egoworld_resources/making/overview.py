"""How everything stands: videos that stand alike are judged once, by the same code that judges a single one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from egoworld_resources.artifacts.made import Artifact, Made
from egoworld_resources.artifacts.manifest import Recipe
from egoworld_resources.artifacts.stage import Stage
from egoworld_resources.artifacts.staleness import fingerprint
from egoworld_resources.errors import EgoworldError, IndexAway
from egoworld_resources.faults.causes import is_the_videos
from egoworld_resources.making.state import SOURCE, VIDEOS, State, state_of
from egoworld_resources.making.views import Amounts, Arrivals, Group, Marked, probed_frames
from egoworld_resources.store.index import Index
from egoworld_resources.store.known import known
from egoworld_resources.store.look import Column, Look, Numbers, some_with
from egoworld_resources.store.noting import INDEXES
from egoworld_resources.store.protocol import Inspected
from egoworld_resources.store.reindex import catch_up

if TYPE_CHECKING:
    from egoworld_resources.making.workbench import Workbench

log = logging.getLogger(__name__)
EQUAL, OTHER, WENT, NEITHER, CAME = range(5)
"""What became of an input since an artifact was made."""
SOME = 200
MOST = 2**62


class Overview:
    """By the index. look: what it says of the stages' assets."""

    def __init__(self, bench: Workbench, index: Index, stages: Sequence[Stage], videos: Sequence[str] | None) -> None:
        self._bench, self._index, self._stages = bench, index, stages
        needed = {name for one in stages for name in (one.name, *one.inputs, *one.optional, *one.annotations)}
        self.look = Look(index, sorted(needed), videos)
        self._given: dict[tuple[str, str], Numbers] = {}

    @property
    def videos(self) -> Sequence[str]:
        return self.look.videos

    def recipe(self, stage: Stage) -> Recipe:
        return self._bench.recipe(stage)

    def state(self, stage: Stage, video: str) -> State[Artifact]:
        return state_of(self.look, self._bench.recipe, stage, video)

    def recorded(self, kind: str, key: str) -> dict[str, Any] | None:
        """What is recorded, also of a video that is not looked at."""
        found = self.look.recorded(kind, key)
        if found is None and kind == "videos":
            others = self._index.ask(lambda connection: known(connection, "video", "", [key]))
            found = next((facts for facts in others.values() if isinstance(facts, dict)), None)
        return found

    def having(self, asset: str) -> Sequence[str]:
        """Videos with a live version of an asset, of all; of many some, evenly spread."""
        if self.look.whole and asset in self.look.columns:
            live = np.flatnonzero(self.look.columns[asset].version)
            return [self.look.videos[line] for line in live[:: max(1, len(live) // SOME)]]
        return self._index.ask(lambda connection: some_with(connection, asset, SOME))

    def made(self, asset: str, videos: Sequence[str]) -> Mapping[str, Made]:
        """Live versions that can be read."""
        found = self._index.ask(lambda connection: known(connection, "artifact", asset, list(videos)))
        return {place.video: truth for place, truth in found.items() if isinstance(truth, Made)}

    def sizes(self, videos: Sequence[str]) -> Mapping[str, int]:
        """Bytes of videos, of those whose record can be read."""
        lines = ((video, self.look.line(video)) for video in videos)
        return {video: int(self.look.bytes[line]) for video, line in lines if self.look.source[line]}

    def groups(self, marked: Marked | None = None) -> Iterable[Group]:
        """Videos by how all of their stages stand; the group of the first video first."""
        code = self.look.damaged
        lines = {video: line for line, video in enumerate(self.look.videos)}
        of_lines = {(name, lines[video]): word for (name, video), word in (marked or {}).items() if video in lines}
        for stage in self._stages:
            code = _together(code, self._code(stage))
            code = _together(code, self._failures(stage))
            words = {line: word for (name, line), word in of_lines.items() if name == stage.name}
            code = _together(code, _of_lines(words, len(code)))
        _, first, group = np.unique(code, return_index=True, return_inverse=True)
        order = np.argsort(group, kind="stable")
        parts = np.split(order, np.cumsum(np.bincount(group))[:-1]) if len(order) else []
        for number in np.argsort(first):
            yield Group([self.look.videos[line] for line in parts[number]])

    def frames(self, videos: Sequence[str]) -> Mapping[str, int]:
        """Frames of videos whose bytes, as they are now, were probed."""
        if VIDEOS not in self.look.columns:
            return probed_frames(self, videos)
        column, counted = self.look.columns[VIDEOS], self.look.amounts(VIDEOS)["frames"]
        same = (column.used.get(SOURCE, np.zeros_like(column.version)) == self.look.source) & (column.version != 0)
        found = np.where(same, counted, 0).astype(np.int64)
        return {video: int(frames) for video in videos if (frames := found[self.look.line(video)])}

    def amounts(self, asset: str) -> Amounts:
        """What the live artifacts of the videos come to."""
        found = {name: float(each.sum()) for name, each in self.look.amounts(asset).items()}
        return Amounts(round(found["rows"]), found["seconds"], round(found["bytes"]))

    def arrivals(self) -> Arrivals:
        """How the videos arrived."""
        sound = self.look.source != 0
        newest = max(self.look.arrived_at(), default="")
        return Arrivals(int(sound.sum()), int(self.look.bytes[sound].sum()), newest)

    def _code(self, stage: Stage) -> Numbers:
        """A number that is the same for videos of which this stage's artifact stands alike, whatever its inputs do."""
        column = self.look.columns[stage.name]
        changes = np.zeros(len(column.version), dtype=np.int64)
        for name in sorted({*column.used, *stage.annotations}):
            used = column.used.get(name, np.zeros_like(column.version))
            changes = _together(changes, _change(used, self._now(stage, name)))
        return _together(_together(column.kind, changes), self._odd(stage, column))

    def _now(self, stage: Stage, name: str) -> Numbers:
        """The version of an input that a stage would be given now, by video; 0 where there is none."""
        if (stage.name, name) not in self._given:
            self._given[stage.name, name] = self._usable(stage, name)
        return self._given[stage.name, name]

    def _usable(self, stage: Stage, name: str) -> Numbers:
        if name == SOURCE:
            return self.look.source
        if name in stage.annotations:
            said = self.look.columns[name]
            of = said.used.get(SOURCE, np.zeros_like(said.version))
            return np.where(of == self.look.source, said.version, 0)
        if name not in (*stage.inputs, *stage.optional):
            return np.zeros(len(self.look.videos), dtype=np.int64)
        column = self.look.columns[name]
        if stage.shows_quarantined and name in stage.optional:
            return column.version
        bad = [number for number, kind in self.look.kinds.items() if kind.quarantine]
        return np.where(np.isin(column.kind, bad), 0, column.version)

    def _odd(self, stage: Stage, column: Column) -> Numbers:
        """1 where the fingerprint is not that of recipe and inputs, 2 where it is the one of now all the same."""
        found = np.zeros(len(column.odd), dtype=np.int64)
        lines = np.flatnonzero(column.odd)
        self.look.learn(column.odd[lines].tolist())
        self._learn_inputs(stage, lines)
        for line in lines:
            now = self._print(stage, int(line))
            found[line] = 2 if now == self.look.text(int(column.odd[line])) else 1
        return found

    def _failures(self, stage: Stage) -> Numbers:
        """What is recorded as failed: as it is now, or as it was before."""
        failed = self.look.failures[stage.name]
        self.look.learn([reason for _, reason, _ in failed.values()])
        self._learn_inputs(stage, np.array(list(failed), dtype=np.int64))
        words: dict[int, str] = {}
        for line, (made_of, reason, kind) in failed.items():
            record = {"reason": self.look.text(reason), **({"kind": kind} if kind is not None else {})}
            now = is_the_videos(record) and made_of == self._print(stage, line)
            words[line] = f"now {kind} {record['reason']}" if now else "before"
        return _of_lines(words, len(self.look.videos))

    def _learn_inputs(self, stage: Stage, lines: Numbers) -> None:
        """Read the versions of what a stage would be given for some videos at once."""
        for name in (SOURCE, *stage.inputs, *stage.optional, *stage.annotations):
            self.look.learn(self._now(stage, name)[lines].tolist())

    def _print(self, stage: Stage, line: int) -> str:
        """The fingerprint that an artifact would have now; empty when that cannot be said."""
        try:
            recipe = self._bench.recipe(stage)
        except EgoworldError:
            return ""
        numbers = {name: int(self._now(stage, name)[line]) for name in (SOURCE, *stage.inputs, *stage.optional)}
        said = {name: int(self._now(stage, name)[line]) for name in stage.annotations}
        numbers |= {name: number for name, number in said.items() if number}
        return fingerprint(recipe, {name: self.look.text(number) or None for name, number in numbers.items()})


def _change(used: Numbers, now: Numbers) -> Numbers:
    """What became of an input, by video."""
    there = np.where(used == 0, np.where(now == 0, NEITHER, CAME), np.where(now == 0, WENT, OTHER))
    return np.where((used == now) & (used != 0), EQUAL, there)


def _together(one: Numbers, other: Numbers) -> Numbers:
    """Numbers that are the same where both are; none of them is negative."""
    if not other.any():
        return one
    size = int(other.max()) + 1
    if int(one.max()) >= MOST // size:
        _, one = np.unique(one, return_inverse=True)
        values, other = np.unique(other, return_inverse=True)
        size = len(values)
    return one * size + other


def _of_lines(words: Mapping[int, str], count: int) -> Numbers:
    """A number for each different word; 0 where there is none."""
    found = np.zeros(count, dtype=np.int64)
    numbers = {word: number for number, word in enumerate(dict.fromkeys(words.values()), 1)}
    for line, word in words.items():
        found[line] = numbers[word]
    return found


def by_index(
    bench: Workbench,
    store: Inspected,
    stages: Sequence[Stage],
    videos: Sequence[str] | None,
    late: Callable[[], bool] = lambda: False,
) -> Overview | None:
    """How videos stand by the index of a store; None, with the reason in the log, when it cannot be used."""
    index = usable_index(store, late)
    if index:
        try:
            return Overview(bench, index, stages, videos)
        except IndexAway as error:
            log.warning("%s; the manifests are read instead", error)
    return None


def usable_index(store: Inspected, late: Callable[[], bool]) -> Index | None:
    """The index of a store, made if need be; None when there is none, or others write to the store without it."""
    index: Index | None = getattr(store, "index", None)
    if index is None:
        return None
    try:
        index.settle_left(store)
        if not index.complete:
            log.warning("%s is being made from the store; this is done once", index)
        if not catch_up(index, store, late):
            log.warning("%s is not complete yet; the manifests are read instead", index)
            return None
        others = set(store.keys(INDEXES)) - {index.name}
    except IndexAway as error:
        log.warning("%s; the manifests are read instead", error)
        return None
    if others:
        log.warning(
            "other machines write to this store: set `index` to one database for all, or, when they write no more, "
            "call `egoworld fsck --reindex`; the manifests are read instead"
        )
    return None if others else index
