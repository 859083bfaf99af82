"""nightly_refresh: each night a bounded number of videos that have something missing or stale."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import dagster as dg

from egoworld_assets.automation.pace import Cursor, deadline
from egoworld_assets.orchestration.batches import batches_of_stages, in_order, partitions_of, run_request
from egoworld_assets.orchestration.materializations import LOG, console
from egoworld_assets.orchestration.partitions import VIDEOS, layout_changes, unknown
from egoworld_assets.orchestration.registry import stages
from egoworld_assets.orchestration.shards import by_partition
from egoworld_assets.planning.outdated import outdated, outdated_by_index
from egoworld_resources.making.workbench import Workbench
from egoworld_resources.settings import Settings

NIGHT = "egoworld/night"
"""Tag of the runs that a night asked for: which night."""
TAKEN_ON = "egoworld/videos"
"""Tag of the same runs: how many videos of the partition have something missing or stale."""
HELD_BACK = 1_000
"""Partitions that could not be judged and are looked at again in the same night."""


@dataclass(frozen=True)
class Window:
    """The night at a moment. label: when it began; open: whether it lasts; next: when the one after it begins."""

    label: str
    open: bool
    next: str


def window(settings: Settings, now: float) -> Window:
    """The night at a time (s since 1970) by refresh_at, refresh_every_h and refresh_for_h."""
    hours, minutes = settings.refresh_at.split(":")
    first, every = 3600.0 * int(hours) + 60.0 * int(minutes), 3600.0 * settings.refresh_every_h
    begin = first + (now - first) // every * every
    return Window(moment(begin), now - begin < 3600.0 * settings.refresh_for_h, moment(begin + every))


def moment(at: float) -> str:
    """A time (s since 1970) as text; later ones sort behind earlier ones."""
    return datetime.fromtimestamp(round(at), UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Night(Cursor):
    """How far a night is: the sensor's cursor. begin: the partition behind which it began; after: the last one looked
    at; around: whether that was ``begin``, the last of all; again: partitions that could not be judged the first time.
    """

    night: str = ""
    begin: str = ""
    after: str = ""
    around: bool = False
    again: Sequence[str] = ()

    def follows(self, label: str, every_s: float) -> bool:
        """Whether a night is to begin: it is not this one, and not one that a clock which was set back shows again."""
        if not self.night or label > self.night:
            return True
        ahead = datetime.fromisoformat(self.night).timestamp() - datetime.fromisoformat(label).timestamp()
        return ahead > 1.5 * every_s  # this night was begun by a clock that ran ahead

    def next(self, label: str) -> Night:
        """The night that begins behind where this one came to."""
        return Night(label, self.after, self.after)

    def rest(self, order: Sequence[str]) -> list[str]:
        """What it has not looked at yet, of all partitions in their order: once around, from where it began."""
        first = order.index(self.begin) + 1 if self.begin in order else 0
        around = [*order[first:], *order[:first]]
        if self.after not in order or (self.after == self.begin and not self.around):
            return around
        return around[around.index(self.after) + 1 :]

    def behind(self, partition: str) -> Night:
        """The same after one more partition."""
        return replace(self, after=partition, around=partition == self.begin)


def nightly_refresh(
    context: dg.SensorEvaluationContext, bench: dg.ResourceParam[Workbench]
) -> dg.SensorResult | dg.SkipReason:
    """Each night, at most ``refresh_limit`` videos that have something missing or stale, in batches.

    A shard is taken whole, so its last one may exceed the limit. A look goes on where the one before it came to, until
    all partitions were looked at or the night is over. What was asked for already is read off the runs that Dagster
    has, so that a look whose cursor was lost asks for nothing twice and for no more than the limit.
    """
    tonight, settings = window(bench.settings, time.time()), bench.settings
    if not tonight.open:
        return dg.SkipReason(f"the next refresh begins at {tonight.next}")
    night = Night.read(context.cursor)
    if night.night != tonight.label:
        if not night.follows(tonight.label, 3600.0 * settings.refresh_every_h):
            return dg.SkipReason(f"the clock was set back; the night of {night.night} was refreshed already")
        changes = layout_changes(bench, context.instance)
        if changes:
            return dg.SensorResult(dynamic_partitions_requests=changes, skip_reason="first the partitions are laid out")
        night = night.next(tonight.label)
    look = Look(context, bench, tonight.label)
    night = look.over(night)
    lacking = unknown(context.instance, list(look.wanted))
    return dg.SensorResult(
        run_requests=look.requests(),
        dynamic_partitions_requests=[VIDEOS.build_add_request(lacking)] if lacking else [],
        cursor=night.write(),
        skip_reason=None if look.wanted else look.said(),
    )


class Look:
    """One look of a night: what it asks for, within what is left of the limit and of its time."""

    def __init__(self, context: dg.SensorEvaluationContext, bench: Workbench, label: str) -> None:
        self.wanted: dict[str, tuple[Sequence[str], int]] = {}
        self._bench, self._label = bench, label
        self._partitions = by_partition(bench.store.keys("videos"), bench.settings.shards)
        self._order = in_order(context.instance, list(self._partitions))
        self._asked, self._taken_on = asked_for(context.instance, label, self._order)
        self._left = bench.settings.refresh_limit - self._taken_on
        self._snapshot = bench.snapshot(ahead=False)
        self._late = deadline()
        self._outdated = outdated_by_index(bench, self._late)

    def over(self, night: Night) -> Night:
        """Look at the partitions that a night has not looked at, then again at those that could not be judged."""
        again = list(night.again)
        for partition in night.rest([one for one in self._order if one in self._partitions]):
            if self.ended:
                return replace(night, again=again)
            if not self.judged(partition) and len(again) < HELD_BACK:
                again.append(partition)
            night = night.behind(partition)
        failed = [p for p in again if self.ended or (p in self._partitions and not self.judged(p))]
        return replace(night, again=failed)

    @property
    def ended(self) -> bool:
        """Whether nothing more is to be looked at now."""
        return self._left <= 0 or self._late()

    def judged(self, partition: str) -> bool:
        """Ask for what a partition lacks; False when that cannot be said now, which is no reason to stop here."""
        if partition in self._asked:
            return True
        try:
            names, videos = self._wanted_in(self._partitions[partition])
        except Exception as error:  # noqa: BLE001 one partition does not keep the others from being refreshed
            LOG.warning(f"{partition} cannot be judged now, the next look tries it again: {error}")
            return False
        if names:
            self._left -= videos
            self._taken_on += videos
            self._asked.add(partition)
            self.wanted[partition] = (names, videos)
        return True

    def _wanted_in(self, videos: Sequence[str]) -> tuple[list[str], int]:
        """By the index; by the manifests where it cannot be used or does not know of a video yet."""
        known = self._outdated
        if known is None or any(video not in known for video in videos):
            return wanted_in(self._snapshot, videos)
        return of_all([known[video] for video in videos])

    def requests(self) -> list[dg.RunRequest]:
        """Runs of what it found: neighbours that lack the same stages together."""
        found: list[dg.RunRequest] = []
        for names, batch in batches_of_stages(self._order, self._stages_of(), self._bench.settings.batch):
            tags = {NIGHT: self._label, TAKEN_ON: str(sum(self.wanted[partition][1] for partition in batch))}
            key = f"refresh:{self._label}:{batch[0]}"
            found.append(run_request(batch, key, console(self._bench), names, tags))
        return found

    def _stages_of(self) -> dict[str, Sequence[str]]:
        return {partition: names for partition, (names, _) in self.wanted.items()}

    def said(self) -> str:
        """Why it asked for nothing."""
        if self._left <= 0:
            return f"refresh_limit is reached: {self._taken_on} videos were taken on in this night"
        return "nothing more is missing or stale" if self._asked else "nothing is missing or stale"


def asked_for(instance: dg.DagsterInstance, label: str, order: Sequence[str]) -> tuple[set[str], int]:
    """Partitions for which a night has a run, and the videos taken on; a run that was started again counts once."""
    runs = instance.get_runs(dg.RunsFilter(tags={NIGHT: label}))
    found = {tuple(partitions_of(run.tags, order)): int(run.tags[TAKEN_ON]) for run in runs}
    return set().union(*found), sum(found.values())


def wanted_in(bench: Workbench, videos: Iterable[str]) -> tuple[list[str], int]:
    """Names of the stages that are missing or stale in some videos, inputs first, and in how many videos."""
    return of_all([outdated(bench, stages().values(), video) for video in videos])


def of_all(outdated_stages: Sequence[Sequence[str]]) -> tuple[list[str], int]:
    """Names of the stages that are outdated in any of some videos, inputs first, and in how many videos."""
    wanted = set[str]().union(*outdated_stages)
    return [name for name in stages() if name in wanted], sum(map(bool, outdated_stages))
