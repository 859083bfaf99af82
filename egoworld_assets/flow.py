"""Run the flow from the command line: through Dagster, stage after stage, many videos per model load."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import dagster as dg

from egoworld_assets.definitions import build
from egoworld_assets.partitions import VIDEOS, add_partitions, lay_out
from egoworld_assets.plan import MADE, WANTS_WORK
from egoworld_assets.progress import FlowProgress
from egoworld_assets.stages import stages
from egoworld_assets.upkeep import DATASET, FLOW, contiguous, end_dead_runs, process_tag
from egoworld_resources.arrivals import Arrival, Arrivals, Refused
from egoworld_resources.settings import PROJECT
from egoworld_resources.shards import partition_of
from egoworld_resources.workbench import Workbench

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
PATIENT_BACKFILLS = "DAGSTER_BACKFILL_RETRY_DEFINITION_CHANGED_ERROR"
"""Makes a backfill wait while the code server starts again; without it Dagster ends the backfill as failed."""
RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


def dagster_home(bench: Workbench) -> Path:
    """DAGSTER_HOME of this installation, made ready and put into the environment; a server has its own."""
    server = bench.layout.server / "dagster"
    if os.environ.get("DAGSTER_HOME") == str(server):
        return server
    home = bench.layout.dagster
    home.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(PROJECT / "infra" / "dagster.yaml", home / "dagster.yaml")
    os.environ["DAGSTER_HOME"] = str(home)
    os.environ[PATIENT_BACKFILLS] = "1"
    return home


def instance_of(bench: Workbench) -> dg.DagsterInstance:
    """The Dagster instance of this installation."""
    dagster_home(bench)
    return dg.DagsterInstance.get()


def take(bench: Workbench, instance: dg.DagsterInstance, paths: Sequence[Path]) -> tuple[list[Arrival], list[str]]:
    """Take files in and have a partition for each video; returns what was taken, and why others were refused."""
    arrivals = Arrivals(bench.store)
    taken: list[Arrival] = []
    refused: list[str] = []
    for path in paths:
        try:
            taken.append(arrivals.take(path, arrivals.name_for(path)))
        except Refused as error:
            refused.append(str(error))
    add_partitions(bench, instance, [arrival.video for arrival in taken if arrival.duplicate_of is None])
    return taken, refused


def run_flow(
    bench: Workbench, instance: dg.DagsterInstance, videos: Sequence[str], progress: FlowProgress
) -> list[str]:
    """Make all that is missing or stale of some videos, then the dataset.

    What fails of a video is recorded in the store, not raised. What could not be made for another reason, such as a
    full disk, holds back what would be made of it. Returns the faults that are no video's: ours.
    """
    faults: list[str] = []
    end_dead_runs(instance)
    bench.listener, bench.chosen = progress.listen, frozenset(videos)
    lay_out(bench, instance)
    partition = {video: partition_of(video, bench.settings.shards) for video in videos}
    definitions = build(bench)
    flow = definitions.resolve_job_def(FLOW.name)
    keys = instance.get_dynamic_partitions(str(VIDEOS.name))
    unmade: dict[str, set[str]] = {}
    for stage in stages().values():
        told = instance.get_materialized_partitions(dg.AssetKey(stage.name))
        waiting = set().union(*(unmade[asset] for asset in (*stage.inputs, *stage.optional)))
        states = {video: bench.state(stage, video).condition for video in videos if video not in waiting}
        untold = {video for video in states if partition[video] not in told}
        wanted = {v for v, state in states.items() if state in WANTS_WORK or (state in MADE and v in untold)}
        progress.begin(stage, sorted(wanted))
        for group in contiguous(keys, {partition[video] for video in wanted}):
            run_id = str(uuid4())
            result = flow.execute_in_process(
                instance=instance,
                run_id=run_id,
                asset_selection=[dg.AssetKey(stage.name)],
                tags={**process_tag(run_id), **dict(zip(RANGE, (group[0], group[-1]), strict=True))},
                run_config=QUIET,
                raise_on_error=False,
            )
            faults += unexpected(result)
            if was_interrupted(result):
                raise KeyboardInterrupt
        progress.end(stage)
        unmade[stage.name] = waiting | {v for v in wanted if bench.state(stage, v).condition in WANTS_WORK}
    dataset = definitions.resolve_job_def(DATASET.name)
    run_id = str(uuid4())
    result = dataset.execute_in_process(
        instance=instance, run_id=run_id, tags=process_tag(run_id), run_config=QUIET, raise_on_error=False
    )
    return faults + unexpected(result)


def was_interrupted(result: dg.ExecuteInProcessResult) -> bool:
    """Whether a person ended the run: Dagster reports Ctrl-C as a failure of the step."""
    errors = [event.step_failure_data.error for event in result.get_step_failure_events()]
    return any(error and error.cls_name == "DagsterExecutionInterruptedError" for error in errors)


def unexpected(result: dg.ExecuteInProcessResult) -> list[str]:
    """What ended a run other than a Failure that the step itself declared."""
    found: list[str] = []
    for event in result.get_step_failure_events():
        data = event.step_failure_data
        if data.user_failure_data is None and data.error:
            cause = data.error.cause or data.error
            found.append(f"{event.step_key}: {cause.message.strip()} (run {result.run_id}, see make ui)")
    return found
