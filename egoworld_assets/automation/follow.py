"""dataset_follows: the dataset is merged again by itself, some time after what it is made of has changed."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import dagster as dg

from egoworld_assets.automation.jobs import DATASET
from egoworld_assets.automation.pace import UNFINISHED, Cursor, deadline
from egoworld_assets.dataset import artifact_of, declarations, usable, usable_in
from egoworld_assets.episodes import STAGE
from egoworld_assets.orchestration.materializations import LOG, console
from egoworld_assets.orchestration.registry import stages
from egoworld_assets.orchestration.shards import videos_of
from egoworld_resources.dataset import considered
from egoworld_resources.errors import Transient
from egoworld_resources.making.views import OneByOne, view_of
from egoworld_resources.making.workbench import Workbench

ASSET = dg.AssetKey("dataset")
BY_HAND = "__ASSET_JOB"
"""Dagster's own job, by which a person materializes an asset in the UI."""
AT_ONCE = 500
"""Events of one asset that a look reads."""
MERGES = 8
"""Merges that a look reads, the newest; this many failures in a row make the longest wait."""
LONGEST_S = 3600.0
"""Seconds between merges that fail, at most."""


@dataclass(frozen=True)
class Follow(Cursor):
    """How far the looks are: the sensor's cursor.

    event: events of assets up to here were compared (-1: none yet); asked_at: the same when a merge was last asked for.
    ended: which merge ended last. first, last: the first and the last change that is not merged, by the wall clock.
    look: video behind which the look at everything goes on; None: none is under way. looked: when the last one ended.
    unheard: whether the look at everything found the change. declared: digest of all declarations.
    """

    event: int = -1
    asked_at: int = -1
    ended: str = ""
    first: float | None = None
    last: float = 0.0
    look: str | None = None
    looked: float = 0.0
    unheard: bool = False
    declared: str = ""

    def by(self, now: float) -> Follow:
        """The same by a clock that may have been set back: nothing of it lies ahead."""
        first = None if self.first is None else min(self.first, now)
        return replace(self, first=first, last=min(self.last, now), looked=self.looked if self.looked <= now else 0.0)

    def changed(self, now: float) -> Follow:
        """The same after a change."""
        return replace(self, first=now if self.first is None else self.first, last=now)


def dataset_follows(
    context: dg.SensorEvaluationContext, bench: dg.ResourceParam[Workbench]
) -> dg.SensorResult | dg.SkipReason:
    """Asks for a merge once what the dataset is made of has changed and then rested for ``dataset_quiet_s``, or
    ``dataset_wait_s`` after the change; at most one merge at a time, and one more for what came while it ran.

    Changes are found by Dagster's events of the stages, by a change of the declarations, and by a look at everything
    each ``dataset_look_s``: compared is always what a merge would take now with what the last one considered.
    """
    now, instance, settings = time.time(), context.instance, bench.settings
    merges = instance.get_run_records(dg.RunsFilter(job_name=DATASET.name), limit=MERGES)
    follow = after_merges(Follow.read(context.cursor).by(now), merges, instance)
    follow = Looking(bench, context).go(follow, now)
    if follow.first is None:
        said = "the dataset holds what is usable" if follow.look is None else "looking at everything"
        return dg.SensorResult(skip_reason=said, cursor=follow.write())
    quiet_s = settings.dataset_quiet_s
    wait = waits(follow, quiet_s, settings.dataset_wait_s, now)
    wait = wait or rests(merges, max(quiet_s, float(settings.sensors_every_s)), now) or busy(instance)
    if wait:
        return dg.SensorResult(skip_reason=wait, cursor=follow.write())
    newest = merges[0].dagster_run.run_id if merges else "none"
    request = dg.RunRequest(run_key=f"merge-after:{newest}", run_config=console(bench))
    return dg.SensorResult(run_requests=[request], cursor=replace(follow, asked_at=follow.event).write())


def after_merges(follow: Follow, merges: Sequence[dg.RunRecord], instance: dg.DagsterInstance) -> Follow:
    """Where the comparison goes on: once a merge has ended, what came since it was asked for is compared again."""
    finished = next((record.dagster_run.run_id for record in merges if record.dagster_run.is_finished), "")
    latest = instance.get_latest_materialization_event(ASSET)
    ended = f"{finished} {latest.run_id if latest else ''}"
    if ended == follow.ended:
        return follow
    look = "" if follow.unheard else follow.look
    event = min(follow.event, follow.asked_at) if follow.asked_at >= 0 else follow.event
    return replace(follow, event=event, ended=ended, first=None, look=look, unheard=False)


def waits(follow: Follow, quiet_s: float, wait_s: float, now: float) -> str:
    """Why the changes are still to be waited for; empty when they are not."""
    rested, waited = now - follow.last, now - (now if follow.first is None else follow.first)
    if rested >= quiet_s or waited >= wait_s:
        return ""
    return f"changed {rested:.0f} s ago; merged after {quiet_s:.0f} s without a change (dataset_quiet_s)"


def rests(merges: Sequence[dg.RunRecord], pause_s: float, now: float) -> str:
    """Why no merge is asked for after some that failed; empty when enough time has passed, or none failed.

    pause_s: the pause after the first failure; it doubles with each further one in a row, up to LONGEST_S.
    """
    failed = 0
    for record in merges:
        if record.dagster_run.status not in (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED):
            break
        failed += 1
    if not failed:
        return ""
    pause = min(pause_s * 2 ** (failed - 1), max(pause_s, LONGEST_S))
    rested = now - (merges[0].end_time or 0.0)
    if rested < 0:  # by a clock that was set back since
        return ""
    return f"the last {failed} merges failed; tried again in {pause - rested:.0f} s" if rested < pause else ""


def busy(instance: dg.DagsterInstance) -> str:
    """Why a merge that is under way is waited for; empty when there is none. A person may have started it."""
    for job in (DATASET.name, BY_HAND):
        for run in instance.get_runs(dg.RunsFilter(job_name=job, statuses=UNFINISHED)):
            if job != BY_HAND or ASSET in (run.asset_selection or ()):
                return f"a merge is under way: run {run.run_id}"
    return ""


class Looking:
    """Compares what a merge would take of a video now with what the last merge considered, within a time."""

    def __init__(self, bench: Workbench, context: dg.SensorEvaluationContext) -> None:
        self._bench, self._context = bench, context
        self._looked_at = bench.snapshot(ahead=False)
        self._last = considered.read(bench.layout.dataset)
        self._late = deadline()

    def go(self, follow: Follow, now: float) -> Follow:
        """Look at new events, then on at everything where that is due."""
        declared = declarations(self._bench)
        if follow.event < 0:
            follow = replace(follow, event=newest_event(self._context.instance), look="", declared=declared)
        follow = self._events(follow, now)
        due = follow.declared != declared or now - follow.looked >= self._bench.settings.dataset_look_s
        if follow.look is None and follow.first is None and due:
            follow = replace(follow, look="", declared=declared)
        return follow if follow.look is None else self._everything(follow, now)

    def _events(self, follow: Follow, now: float) -> Follow:
        """Compare the videos of which an asset was materialized since the last look."""
        compared: set[str] = set()
        for number, partition in new_events(self._context.instance, follow.event):
            videos = videos_of([partition], lambda: self._bench.store.keys("videos"))[partition]
            others = [video for video in videos if video not in compared]
            compared.update(others)
            if self._late():
                break
            if self._differ(others):
                follow = follow.changed(now)
            follow = replace(follow, event=number)
        return follow

    def _everything(self, follow: Follow, now: float) -> Follow:
        """Go on comparing every video, in the order of their keys; ends with the first that differs."""
        for video in sorted(
            {*self._bench.store.videos(STAGE.name), *self._last.fingerprints} - self._unchanged(follow.declared)
        ):
            if video <= (follow.look or ""):
                continue
            if self._late():
                return follow
            if self._differ([video]):
                return replace(follow.changed(now), look=None, looked=now, unheard=True)
            follow = replace(follow, look=video)
        return replace(follow, look=None, looked=now)

    def _unchanged(self, declared: str) -> set[str]:
        """Videos that are plainly as the last merge took them, by the index: nothing else of them need be read."""
        view = view_of(self._looked_at, [STAGE], None, self._late) if declared == self._last.declared else None
        if view is None or isinstance(view, OneByOne):
            return set()
        made = view.made(STAGE.name, usable_in(view))
        return {video for video, one in made.items() if one.data_version == self._last.versions.get(video)}

    def _differ(self, videos: Iterable[str]) -> bool:
        """Whether a merge would take something else of one of some videos than the last one did."""
        return any(self._now(video) != self._last.fingerprints.get(video) for video in videos)

    def _now(self, video: str) -> str | None:
        """What a merge would take of a video now. Stale episodes are no change: a refresh makes them first.

        Raises Transient when the store does not answer; the next look begins where this one did.
        """
        if self._looked_at.store.recorded("videos", video) is None:
            return None
        try:
            made = usable(self._looked_at, video)
            if made is None and self._looked_at.state(STAGE, video).condition == "stale":
                return self._last.fingerprints.get(video)
            return considered.fingerprint(artifact_of(self._looked_at, made, Path())) if made else None
        except Transient:
            raise
        except Exception as error:  # noqa: BLE001 one video does not keep the others out of the dataset
            LOG.warning(f"the episodes of {video} cannot be judged, so they count as unchanged: {error}")
            return self._last.fingerprints.get(video)


def new_events(instance: dg.DagsterInstance, after: int) -> list[tuple[int, str]]:
    """Storage id and partition of the materializations of stages behind one, in order; those that come first."""
    found: list[tuple[int, str]] = []
    upto: int | None = None
    for name in stages():
        wanted = dg.AssetRecordsFilter(dg.AssetKey(name), after_storage_id=after)
        records = instance.fetch_materializations(wanted, limit=AT_ONCE, ascending=True).records
        found += [(record.storage_id, record.partition_key) for record in records if record.partition_key]
        if len(records) == AT_ONCE:
            upto = min(records[-1].storage_id, records[-1].storage_id if upto is None else upto)
    return sorted(event for event in found if upto is None or event[0] <= upto)


def newest_event(instance: dg.DagsterInstance) -> int:
    """Storage id of the newest materialization of a stage; 0 when there is none."""
    newest = (instance.fetch_materializations(dg.AssetKey(name), limit=1).records for name in stages())
    return max((record.storage_id for records in newest for record in records), default=0)
