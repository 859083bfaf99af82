"""Keeping everything fresh: the flow job, what is run for videos that are missing or stale, the end of dead runs."""

import os
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace

import dagster as dg
import psutil

from egoworld_assets.partitions import lay_out
from egoworld_assets.plan import WANTS_WORK
from egoworld_assets.stages import stages
from egoworld_assets.told import console
from egoworld_resources.errors import EgoworldError
from egoworld_resources.shards import by_partition
from egoworld_resources.stage import Stage
from egoworld_resources.workbench import Workbench

GROUP = dg.AssetSelection.groups("video_to_dataset")
FLOW = dg.define_asset_job("flow", selection=GROUP, description="Everything that is made of one video.")
DATASET = dg.define_asset_job(
    "merge_dataset", selection=dg.AssetSelection.assets("dataset"), description="One dataset over all videos."
)

PROCESS = "egoworld/process"
"""Tag of the runs of a command: host, pid and start time of its process."""
IN_THE_WORKS = (dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING)
CLOCK_GRAIN_S = 1.0
LOOK_S = 30.0
NIGHT = ("upkeep", "nightly_refresh")
"""The record of how far the refresh of a night is."""


def outdated(bench: Workbench, stages: Iterable[Stage], video: str) -> list[str]:
    """Names of the stages of a video that are missing or stale, those behind them included; inputs first.

    A stage that failed or is quarantined under the current recipe and inputs is not asked for again.
    """
    wanted: list[str] = []
    for stage in stages:
        behind = any(asset in wanted for asset in (*stage.inputs, *stage.optional))
        try:
            wants = bench.state(stage, video).condition in WANTS_WORK
        except EgoworldError:
            wants = True
        if wants or behind:
            wanted.append(stage.name)
    return wanted


def contiguous(keys: Sequence[str], wanted: set[str]) -> Iterator[list[str]]:
    """Runs of neighbours among ``keys`` that are wanted: what one Dagster range can name."""
    group: list[str] = []
    for key in keys:
        if key in wanted:
            group.append(key)
        elif group:
            yield group
            group = []
    if group:
        yield group


@dataclass(frozen=True)
class Night:
    """How far a nightly refresh is. begin: the partition behind which it began; after: the last one looked at; around:
    whether that lay before ``begin``; left: how many videos it may still take on.
    """

    night: str
    begin: str
    after: str
    left: int
    around: bool = False

    def rest(self, partitions: Iterable[str]) -> list[str]:
        """What it has not looked at yet: once around, from where it began."""
        place = {partition: (partition <= self.begin, partition) for partition in partitions}
        return sorted((p for p in place if place[p] > (self.around, self.after)), key=place.__getitem__)

    def behind(self, partition: str, videos: int) -> "Night":
        """The same after one more partition, of which so many videos were taken on."""
        return replace(self, after=partition, around=partition <= self.begin, left=self.left - videos)


def tonight(bench: Workbench, night: str) -> tuple[Night, bool]:
    """The refresh of a night, and whether it only begins: behind where the last one came to."""
    known = bench.store.recorded(*NIGHT)
    if known and known["night"] == night:
        return Night(**known), False
    begin = known["after"] if known else ""
    return Night(night, begin, begin, bench.settings.refresh_limit), True


def wanted_in(bench: Workbench, videos: Iterable[str]) -> tuple[list[str], int]:
    """Names of the stages that are missing or stale in some videos, inputs first, and in how many videos."""
    found = [names for video in videos if (names := outdated(bench, stages().values(), video))]
    wanted = set().union(*found)
    return [name for name in stages() if name in wanted], len(found)


@dg.schedule(
    cron_schedule="* 3 * * *",
    target=GROUP,
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def nightly_refresh(
    context: dg.ScheduleEvaluationContext, bench: dg.ResourceParam[Workbench]
) -> Iterator[dg.RunRequest]:
    """Each night, at most ``refresh_limit`` videos that have something missing or stale, one run a partition.

    A shard is taken whole, so its last one may exceed the limit. Dagster ends a tick after a minute: each looks for
    LOOK_S and the next, a minute later, goes on behind it, until all were looked at or the hour is over.
    """
    end = time.monotonic() + LOOK_S
    night, begins = tonight(bench, str(context.scheduled_execution_time.date()))
    if begins and not lay_out(bench, context.instance, end):
        return
    partitions = by_partition(bench.store.keys("videos"), bench.settings.shards)
    looking = bench.snapshot(ahead=False)
    for partition in night.rest(partitions):
        if night.left <= 0 or time.monotonic() > end:
            break
        names, videos = wanted_in(looking, partitions[partition])
        night = night.behind(partition, videos)
        if names:
            selected = [dg.AssetKey(name) for name in names]
            yield dg.RunRequest(partition_key=partition, asset_selection=selected, run_config=console(bench))
    bench.store.record(*NIGHT, asdict(night))


@dg.schedule(
    cron_schedule="30 * * * *",
    target=dg.AssetSelection.assets("quarantine"),
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def hourly_quarantine(bench: dg.ResourceParam[Workbench]) -> dg.RunRequest:
    """Each hour the table of what stopped. Failures come from sensors, backfills, schedules and commands alike: looking
    through the store once an hour finds all of them, and costs the same however many runs there were.
    """
    return dg.RunRequest(run_config=console(bench))


def this_process() -> str:
    """What tells this process from every other, also from a later one of its number."""
    return f"{socket.gethostname()} {os.getpid()} {psutil.Process().create_time()}"


def end_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """End the runs whose process was killed; returns their ids.

    For Dagster they still run, and hold their places in the queue and the pools: its launcher only notices a death
    while the code server that started the process lives. What Dagster launched is started again (dagster.yaml).
    """
    pools = instance.event_log_storage
    dead = [run for run in instance.get_runs(dg.RunsFilter(statuses=list(IN_THE_WORKS))) if is_dead(instance, run)]
    for run in dead:
        pools.free_concurrency_slots_for_run(run.run_id)
        instance.report_run_failed(run, "its process was killed; what it had made is kept")
    holding = list(pools.get_concurrency_run_ids())
    for run in instance.get_runs(dg.RunsFilter(run_ids=holding)) if holding else ():
        if run.is_finished:
            pools.free_concurrency_slots_for_run(run.run_id)
    return [run.run_id for run in dead]


def is_dead(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether the process of a run has ended, by the tag of a command or by what Dagster noted when it started one."""
    if PROCESS in run.tags:
        host, pid, started = run.tags[PROCESS].split()
        return host == socket.gethostname() and is_gone(int(pid), float(started))
    for record in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
        noted = record.dagster_event.event_specific_data if record.dagster_event else None
        pid = getattr(noted, "metadata", {}).get("pid")
        if pid is not None and is_gone(int(pid.value), record.timestamp):
            return True
    return False


def is_gone(pid: int, noted_at: float) -> bool:
    """Whether the process that had a number at a time (s since 1970) has ended."""
    try:
        return psutil.Process(pid).create_time() > noted_at + CLOCK_GRAIN_S
    except psutil.NoSuchProcess:
        return True


@dg.sensor(minimum_interval_seconds=30, default_status=dg.DefaultSensorStatus.RUNNING)
def dead_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Ends runs whose process was killed, so that they do not hold up the others."""
    ended = end_dead_runs(context.instance)
    return dg.SkipReason(
        f"ended {len(ended)}: {', '.join(ended)}" if ended else "every run in the works has its process"
    )
