"""How videos stand: by their manifests where they are few, by the index of the store where they are many."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol, cast

from egoworld_resources.artifacts.made import Artifact, Made
from egoworld_resources.artifacts.manifest import Recipe
from egoworld_resources.artifacts.stage import Stage
from egoworld_resources.errors import DamagedArtifact
from egoworld_resources.making.state import SOURCE, VIDEOS, State
from egoworld_resources.store.protocol import Inspected
from egoworld_resources.store.snapshot import Snapshot

if TYPE_CHECKING:
    from egoworld_resources.making.workbench import Workbench

log = logging.getLogger(__name__)
Marked = Mapping[tuple[str, str], str]
"""A word by (stage, video) that also sets videos apart, such as what one waits for."""
FEW = 64
"""Videos whose manifests are read sooner than a database is loaded."""


@dataclass(frozen=True)
class Group:
    """Videos that stand alike, in the order of their keys."""

    videos: Sequence[str]

    @property
    def example(self) -> str:
        return self.videos[0]


@dataclass(frozen=True)
class Amounts:
    """What the live artifacts of an asset come to."""

    rows: int = 0
    seconds: float = 0.0
    bytes: int = 0


@dataclass(frozen=True)
class Arrivals:
    """Videos whose record can be read: how many, of how many bytes, and when the newest arrived ("": not known)."""

    videos: int = 0
    bytes: int = 0
    newest: str = ""


class View(Protocol):
    """How some videos stand. videos: their keys, in order."""

    @property
    def videos(self) -> Sequence[str]: ...
    def recipe(self, stage: Stage) -> Recipe: ...
    def state(self, stage: Stage, video: str) -> State[Artifact]: ...
    def recorded(self, kind: str, key: str) -> dict[str, Any] | None: ...
    def having(self, asset: str) -> Sequence[str]: ...
    def made(self, asset: str, videos: Sequence[str]) -> Mapping[str, Made]: ...
    def frames(self, videos: Sequence[str]) -> Mapping[str, int]: ...
    def sizes(self, videos: Sequence[str]) -> Mapping[str, int]: ...
    def groups(self, marked: Marked | None = None) -> Iterable[Group]: ...
    def amounts(self, asset: str) -> Amounts: ...
    def arrivals(self) -> Arrivals: ...


class OneByOne:
    """By the manifests: every video is a group of its own."""

    def __init__(self, bench: Workbench, videos: Sequence[str]) -> None:
        self._bench, self.videos = bench, videos

    def recipe(self, stage: Stage) -> Recipe:
        return self._bench.recipe(stage)

    def state(self, stage: Stage, video: str) -> State[Artifact]:
        return self._bench.state(stage, video)

    def recorded(self, kind: str, key: str) -> dict[str, Any] | None:
        return self._bench.store.recorded(kind, key)

    def having(self, asset: str) -> Sequence[str]:
        """Videos with a live version of an asset, of all."""
        return self._bench.store.videos(asset)

    def made(self, asset: str, videos: Sequence[str]) -> Mapping[str, Made]:
        """Live versions that can be read."""
        found: dict[str, Made] = {}
        for video in videos:
            try:
                manifest = self._bench.store.current(asset, video)
            except DamagedArtifact:
                continue
            if manifest:
                found[video] = Made.of(manifest)
        return found

    def frames(self, videos: Sequence[str]) -> Mapping[str, int]:
        """Frames of videos whose bytes, as they are now, were probed."""
        return probed_frames(self, videos)

    def sizes(self, videos: Sequence[str]) -> Mapping[str, int]:
        """Bytes of videos, of those whose record can be read."""
        facts = ((video, facts_of(self, video)) for video in videos)
        return {video: int(known["bytes"]) for video, known in facts if known}

    def groups(self, marked: Marked | None = None) -> Iterable[Group]:  # noqa: ARG002
        return (Group([video]) for video in self.videos)

    def amounts(self, asset: str) -> Amounts:
        """What the live artifacts of the videos come to, of those that can be read."""
        made = self.made(asset, self.videos).values()
        rows, size = sum(sum(one.rows.values()) for one in made), sum(one.bytes for one in made)
        return Amounts(rows, sum(one.seconds for one in made), size)

    def arrivals(self) -> Arrivals:
        """How the videos arrived."""
        wanted = set(self.videos)
        facts = [facts for key, facts in self._bench.store.records("videos") if key in wanted]
        newest = max((str(one.get("arrived_at", "")) for one in facts), default="")
        return Arrivals(len(facts), sum(int(one["bytes"]) for one in facts), newest)


def probed_frames(view: View, videos: Sequence[str]) -> Mapping[str, int]:
    """Frames of videos whose bytes, as they are now, were probed: one video after the other."""
    found: dict[str, int] = {}
    for video, made in view.made(VIDEOS, videos).items():
        if made.frames and made.inputs.get(SOURCE) == facts_of(view, video).get("sha256"):
            found[video] = made.frames
    return found


def facts_of(view: View, video: str) -> Mapping[str, Any]:
    """What is recorded of a video; nothing of one whose record is damaged, which status shows."""
    try:
        return view.recorded("videos", video) or {}
    except DamagedArtifact:
        return {}


def view_of(
    bench: Workbench,
    stages: Sequence[Stage],
    videos: Sequence[str] | None,
    late: Callable[[], bool] = lambda: False,
) -> View:
    """How videos stand, all of them or some: by the index, or by the manifests of few or where it cannot be used.

    late: when to stop making an index that is not complete.
    """
    store = original(bench)
    few = len(videos) <= FEW if videos is not None else at_most(store, FEW)
    if not few:
        from egoworld_resources.making.overview import by_index

        view = by_index(bench, store, stages, videos, late)
        if view:
            return view
    return OneByOne(bench, bench.store.keys("videos") if videos is None else videos)


def original(bench: Workbench) -> Inspected:
    """The store itself, behind what was remembered of it for one look."""
    return cast("Inspected", bench.store.original if isinstance(bench.store, Snapshot) else bench.store)


def at_most(store: Inspected, count: int) -> bool:
    """Whether a store knows no more videos; they are not all counted for that."""
    return sum(1 for _ in islice(store.objects("records/videos"), count + 1)) <= count
