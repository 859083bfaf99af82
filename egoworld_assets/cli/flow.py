"""Run the flow from the command line: through Dagster, stage after stage, many videos per model load."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from uuid import uuid4

import dagster as dg
import typer
from rich.markup import escape

from egoworld_assets.automation.dead_runs import end_dead_runs, process_tag
from egoworld_assets.automation.jobs import DATASET, FLOW
from egoworld_assets.cli import status
from egoworld_assets.cli.console import console
from egoworld_assets.cli.progress import FlowProgress, flow_bar
from egoworld_assets.definitions import build
from egoworld_assets.orchestration.batches import RANGE, contiguous
from egoworld_assets.orchestration.instance import dagster_quiet, instance_of
from egoworld_assets.orchestration.partitions import VIDEOS, add_partitions, sync_partitions
from egoworld_assets.orchestration.registry import stages
from egoworld_assets.orchestration.request import Request
from egoworld_assets.orchestration.shards import partition_of
from egoworld_assets.planning.plan import MADE, WANTS_WORK
from egoworld_resources.inbox.arrivals import Arrival, Arrivals, Refused
from egoworld_resources.making.workbench import Workbench
from egoworld_resources.rights.source_videos import RECORD, state_rights
from egoworld_resources.sample.arrays import licence_of_sample

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def sample(workbench: Workbench, seconds: float, seed: int) -> Path:
    """The generated sample video of a seed, rendered once."""
    from egoworld_resources.sample import SampleOptions, is_rendered, render

    path = workbench.layout.home / "sample" / f"sample-{seed}-{seconds:g}s.mp4"
    options = SampleOptions(seed=seed, seconds=seconds)
    if not is_rendered(path, options):
        path.parent.mkdir(parents=True, exist_ok=True)
        with flow_bar(console) as bar:
            task = bar.add_task(f"rendering a sample video of {seconds:g} s", total=None)
            render(path, options, lambda done, total: bar.update(task, completed=done, total=total))
    return path


def flow(workbench: Workbench, paths: Sequence[Path]) -> None:
    """Take files in and run everything for them; a file that is refused is named and the others go on."""
    arrivals, refused = taken(workbench, paths)
    if arrivals:
        run(workbench, list(dict.fromkeys(arrival.duplicate_of or arrival.video for arrival in arrivals)))
    if refused or not arrivals:
        raise typer.Exit(1)


def taken(workbench: Workbench, paths: Sequence[Path]) -> tuple[list[Arrival], list[str]]:
    """Take files into the store and say what became of each; returns what was taken, and why others were refused."""
    with dagster_quiet(), instance_of(workbench) as instance:
        arrivals, refused = take(workbench, instance, paths)
    for reason in refused:
        console.print(f"[red]refused:[/red] {escape(reason)}", soft_wrap=True, highlight=False)
    for arrival in arrivals:
        known = f" (same bytes as {arrival.duplicate_of}, not processed again)" if arrival.duplicate_of else ""
        line = f"{escape(arrival.name)}: {arrival.state}{known}, video {arrival.video}"
        console.print(line, soft_wrap=True, highlight=False)
    return arrivals, refused


def run(workbench: Workbench, videos: Sequence[str], retried: Collection[tuple[str, str]] = ()) -> None:
    """Run the flow for some videos; ends with what came out, and with exit status 1 when something failed.

    retried: (stage, video) of failures that are asked for again.
    """
    from egoworld_assets.quality import accuracy

    with dagster_quiet(), instance_of(workbench) as instance, flow_bar(console) as bar:
        progress = FlowProgress(workbench, bar, list(stages().values()), videos)
        faults = run_flow(workbench, instance, videos, progress, retried)
    status.print_waiting(workbench, console)
    for fault in faults:
        console.print(f"[red]fault:[/red] {escape(fault)}", soft_wrap=True, highlight=False)
    if faults:
        console.print("is this machine the cause? `egoworld doctor` looks", highlight=False)
    entries = [entry for video in videos for entry in status.status_of(workbench, stages().values(), video)]
    console.print(status.run_table(entries, stages().values()))
    for video in videos:
        truth = accuracy.sample_truth(workbench, video)
        if truth:
            console.print(accuracy.accuracy_table(accuracy.accuracy_of(workbench, video, truth), brief=True))
    status.print_where_to_look(workbench, console, entries)
    if faults or any(entry["state"] in ("failed", "missing", "stale") or entry["waits"] for entry in entries):
        raise typer.Exit(1)


def take(bench: Workbench, instance: dg.DagsterInstance, paths: Sequence[Path]) -> tuple[list[Arrival], list[str]]:
    """Take files in and have a partition for each video; returns what was taken, and why others were refused."""
    arrivals = Arrivals(bench.store)
    taken: list[Arrival] = []
    refused: list[str] = []
    for path in paths:
        try:
            arrival = arrivals.take(path, arrivals.name_for(path))
            if arrival.state == "kept":
                raise Refused(f"{arrival.name!r} is kept until the video comes that it is about; give that one")
            taken.append(arrival)
            state_beside(bench, path, arrival.duplicate_of or arrival.video)
        except Refused as error:
            refused.append(str(error))
    add_partitions(bench, instance, [arrival.video for arrival in taken if arrival.duplicate_of is None])
    return taken, refused


def state_beside(bench: Workbench, path: Path, video: str) -> None:
    """A generated sample says in its truth, beside it, under which licence it is; a person's statement stays."""
    sha256 = str((bench.store.recorded("videos", video) or {}).get("sha256"))
    if bench.store.recorded(RECORD, video) is None and (licence := licence_of_sample(path, sha256)):
        state_rights(bench.store, video, licence, "generated by egoworld", by="egoworld")


def run_flow(
    bench: Workbench,
    instance: dg.DagsterInstance,
    videos: Sequence[str],
    progress: FlowProgress,
    retried: Collection[tuple[str, str]] = (),
) -> list[str]:
    """Make all that is missing or stale of some videos, then the dataset.

    What fails of a video is recorded in the store, not raised. What could not be made for another reason, such as a
    full disk, holds back what would be made of it. retried: (stage, video) of failures that are asked for again.
    Returns the faults that are no video's: ours.
    """
    faults: list[str] = []
    end_dead_runs(instance)
    request = Request(frozenset(videos), retried, progress.listen)
    bench.waits.try_now()
    sync_partitions(bench, instance)
    partition = {video: partition_of(video, bench.settings.shards) for video in videos}
    definitions = build(bench, request)
    flow = definitions.resolve_job_def(FLOW.name)
    keys = instance.get_dynamic_partitions(str(VIDEOS.name))
    unmade: dict[str, set[str]] = {}
    for stage in stages().values():
        known = instance.get_materialized_partitions(dg.AssetKey(stage.name))
        waiting = set().union(*(unmade[asset] for asset in (*stage.inputs, *stage.optional)))
        states = {video: bench.state(stage, video).condition for video in videos if video not in waiting}
        unknown = {video for video in states if partition[video] not in known}
        again = {v for v, state in states.items() if state == "failed" and (stage.name, v) in retried}
        wanted = {v for v, state in states.items() if state in WANTS_WORK or (state in MADE and v in unknown)} | again
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
            faults += unexpected(result, stage.name)
            if was_interrupted(result):
                raise KeyboardInterrupt
        progress.end(stage)
        unmade[stage.name] = waiting | {v for v in wanted if bench.state(stage, v).condition in WANTS_WORK}
    dataset = definitions.resolve_job_def(DATASET.name)
    run_id = str(uuid4())
    result = dataset.execute_in_process(
        instance=instance, run_id=run_id, tags=process_tag(run_id), run_config=QUIET, raise_on_error=False
    )
    return faults + unexpected(result, dataset.name)


def was_interrupted(result: dg.ExecuteInProcessResult) -> bool:
    """Whether a person ended the run: Dagster reports Ctrl-C as a failure of the step."""
    errors = [event.step_failure_data.error for event in result.get_step_failure_events()]
    return any(error and error.cls_name == "DagsterExecutionInterruptedError" for error in errors)


def unexpected(result: dg.ExecuteInProcessResult, made: str) -> list[str]:
    """What ended a run other than a Failure that the step itself declared. made: what it was to make."""
    found: list[str] = []
    for event in result.get_step_failure_events():
        data = event.step_failure_data
        if data.user_failure_data is None and data.error:
            cause = data.error.cause or data.error
            found.append(f"{made}: {cause.message.strip()} (run {result.run_id}, see make ui)")
    return found
