"""Keeping everything fresh: the flow job, what is run for videos that are missing or stale, the end of dead runs."""

import os
import socket
from collections.abc import Iterable, Iterator, Sequence

import dagster as dg
import psutil

from egoworld_assets.plan import WANTS_WORK
from egoworld_assets.stages import stages
from egoworld_resources.errors import EgoworldError
from egoworld_resources.stage import Stage
from egoworld_resources.workbench import Workbench

GROUP = dg.AssetSelection.groups("video_to_dataset")
FLOW = dg.define_asset_job("flow", selection=GROUP, description="Everything that is made of one video.")
DATASET = dg.define_asset_job(
    "merge_dataset", selection=dg.AssetSelection.assets("dataset"), description="One dataset over all videos."
)

PROCESS = "egoworld/process"
"""Tag of the runs of a command: host, pid and start time of its process."""
IN_THE_WORKS = (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING)
CLOCK_GRAIN_S = 1.0


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


@dg.schedule(
    cron_schedule="0 3 * * *",
    target=GROUP,
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def nightly_refresh(
    _context: dg.ScheduleEvaluationContext, bench: dg.ResourceParam[Workbench]
) -> Iterator[dg.RunRequest]:
    """Each night, at most ``refresh_limit`` videos that have something missing or stale, one run each."""

    taken = 0
    for video, _ in bench.store.records("videos"):
        names = outdated(bench, stages().values(), video)
        if names and taken < bench.settings.refresh_limit:
            taken += 1
            yield dg.RunRequest(partition_key=video, asset_selection=[dg.AssetKey(name) for name in names])


@dg.schedule(
    cron_schedule="30 * * * *",
    target=dg.AssetSelection.assets("quarantine"),
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def hourly_quarantine() -> dg.RunRequest:
    """Each hour the table of what stopped. Failures come from sensors, backfills, schedules and commands alike: looking
    through the store once an hour finds all of them, and costs the same however many runs there were.
    """
    return dg.RunRequest()


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
