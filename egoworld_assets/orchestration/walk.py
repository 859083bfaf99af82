"""The step that makes artifacts: a batch of videos goes through the stages of a run, each video as far as it gets."""

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from egoworld_assets.orchestration.database import is_away
from egoworld_assets.orchestration.materializations import (
    PartitionSummary,
    materialization,
    materialize_result,
    verdict,
)
from egoworld_assets.orchestration.provenance import inputs_of
from egoworld_assets.orchestration.request import Request
from egoworld_assets.orchestration.shards import videos_of
from egoworld_resources.artifacts.stage import Stage
from egoworld_resources.faults.causes import cause_of
from egoworld_resources.faults.waits import EVERYTHING, in_words
from egoworld_resources.making.waiting import Run, wait, work_at
from egoworld_resources.making.workbench import Outcome, Workbench

RETRIES = 3
NAMED = 50
"""Reasons that the failure of a run names."""

AGAIN = "egoworld/again"
"""Tag of a run that tries a cause again: its key."""
WAITS = "egoworld/waits"
"""Tag of a run that ended because of faults which are no video's: their keys."""
UNRECORDED = "egoworld/unrecorded"
"""Tag of such a run when the ledger could not be written: the run itself stands for what waits."""
TAG_LENGTH = 250


Step = Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]


def walk(context: dg.AssetExecutionContext, bench: Workbench, request: Request, stages: Sequence[Stage]) -> Step:
    """Make some stages, inputs first, for the videos of this run's partitions.

    Each partition of a stage is logged by itself as soon as the stage is through. A video that fails at a stage stops
    there, and the others go on; what stopped is named by the check and the metadata, and a partition of which nothing
    came out fails the run in the end. A fault that may be gone in a moment is tried again at once, from the stage that
    met it; whatever else is no video's fault ends the run as waiting, and the sensor ``waiting`` asks for it again once
    the fault is gone.
    """
    asked = context.run.tags.get(AGAIN, "")
    run = Run(context.run.run_id, request.listener, EVERYTHING if context.retry_number else asked)
    soon = context.retry_number < RETRIES and not asked
    partitions: dict[str, list[str]] = {}
    stage = stages[0]
    try:
        partitions = videos_of(context.partition_keys, lambda: request.all_videos(bench))
        for stage in stages:
            if stage.name not in request.walked:
                yield from make_stage(context, bench, run, request, stage, partitions, soon)
    except (dg.RetryRequested, dg.Failure):
        raise
    except Exception as error:
        if is_away(error):  # the sensor lost_restarts starts the run again
            raise
        wait(bench, run, stage, [video for videos in partitions.values() for video in videos], error)
        run.unrecorded.update(() if partitions else context.partition_keys)
        mark_waiting(context, run, [cause_of(error, work_at(bench, stage)).key, *causes_of(request)])
        raise
    if causes := causes_of(request):
        mark_waiting(context, run, causes)
    if any(summary.nothing for summaries in request.walked.values() for summary in summaries):
        raise not_made(bench, request.walked)


def make_stage(
    context: dg.AssetExecutionContext,
    bench: Workbench,
    run: Run,
    request: Request,
    stage: Stage,
    partitions: Mapping[str, Sequence[str]],
    soon: bool,
) -> Step:
    """One stage of a walk. soon: whether a fault of the moment is tried again in this run."""
    read = inputs_of(context.instance, stage, list(partitions))
    stuck = (lambda: try_again(context, bench)) if soon else None
    summaries = summarize_partitions(bench, run, request, stage, partitions, stuck)
    if any(summary.waits and (soon or (summary.nothing and not summary.causes)) for summary in summaries):
        raise try_again(context, bench)
    request.walked[stage.name] = summaries
    made = [summary for summary in summaries if not summary.nothing]
    if not made:
        return
    if len(summaries) == 1:
        yield materialize_result(bench, stage, made[0], read[made[0].partition])
        return
    if run_has_other_assets(context) and len(made) == len(summaries):
        yield dg.MaterializeResult(asset_key=stage.name)
    for summary in made:
        context.log_event(materialization(bench, stage, summary, read[summary.partition]))
    yield verdict(stage, [summary for summary in summaries if summary.versions or not summary.only_blocked])


def causes_of(request: Request) -> list[str]:
    """Keys of the faults that some videos of a walk wait for."""
    return sorted({key for summaries in request.walked.values() for summary in summaries for key in summary.causes})


def mark_waiting(context: dg.AssetExecutionContext, run: Run, causes: Sequence[str]) -> None:
    """Let the run be found by what it waits for. What the ledger could not take is found by its tag alone."""
    unrecorded = {UNRECORDED: "yes"} if run.unrecorded else {}
    context.instance.add_run_tags(context.run.run_id, {WAITS: ", ".join(causes)[:TAG_LENGTH], **unrecorded})


def try_again(context: dg.AssetExecutionContext, bench: Workbench) -> dg.RetryRequested:
    """Asks Dagster for another try, later each time."""
    return dg.RetryRequested(RETRIES, bench.settings.retry_delay_s * 2**context.retry_number)


def summarize_partitions(
    bench: Workbench,
    run: Run,
    request: Request,
    stage: Stage,
    partitions: Mapping[str, Sequence[str]],
    stuck: Callable[[], Exception] | None,
) -> list[PartitionSummary]:
    """What the videos of each partition came to. Raises ``stuck``, if given, when a whole batch could only be tried
    later: then the others can, too.
    """
    summaries = {partition: PartitionSummary(partition) for partition in partitions}
    summary_of = {video: summaries[partition] for partition, videos in partitions.items() for video in videos}
    alone = {video for videos in partitions.values() if len(videos) == 1 for video in videos}
    waiting = 0
    for outcome in make_in_batches(bench, run, request, stage, summary_of, alone):
        summary_of[outcome.video].add(bench, outcome)
        waiting = waiting + 1 if outcome.transient else 0 if outcome.state == "made" else waiting
        if stuck and waiting >= bench.settings.batch:
            raise stuck()
    return list(summaries.values())


def make_in_batches(
    bench: Workbench, run: Run, request: Request, stage: Stage, videos: Iterable[str], again: Container[str]
) -> Iterator[Outcome]:
    """Make an asset for any number of videos, ``settings.batch`` to a load of the model.

    Outcomes come when their batch is in the store, and nothing is kept of it here: memory, and what kill -9 costs, are
    those of one batch. What failed as it is now is tried again only when it is in ``again``.
    """
    todo: list[str] = []
    for video in videos:
        skipped = skip_reason(bench, request, stage, video, video in again)
        if skipped:
            bench.waits.settle(stage.name, [video])
            yield skipped
            continue
        todo.append(video)
        if len(todo) >= bench.settings.batch:
            yield from bench.make(stage, todo, run)
            todo = []
    if todo:
        yield from bench.make(stage, todo, run)


def skip_reason(bench: Workbench, request: Request, stage: Stage, video: str, again: bool) -> Outcome | None:
    """What a video comes to without a model; None when it is to be made."""
    try:
        state = bench.state(stage, video)
    except Exception:  # noqa: BLE001 making it meets the error again and finds its cause
        return None
    match state.condition:
        case "blocked":
            return Outcome(video, "blocked", state.why)
        case "fresh" | "quarantined":
            return Outcome(video, "fresh", manifest=state.manifest)
        case "failed" if not again and (stage.name, video) not in request.retried:
            return Outcome(video, "failed", state.why)
        case _:
            left = request.chosen is not None and video not in request.chosen
            return Outcome(video, "left") if left else None


def not_made(bench: Workbench, walked: Mapping[str, Sequence[PartitionSummary]]) -> dg.Failure:
    """The end of a run that has partitions of which nothing came out: each stage that is the reason, with its videos.

    A cause for which some wait is said once. What only waits for a stage before it goes without saying, unless there is
    nothing else to say.
    """
    lost = {name: [summary for summary in summaries if summary.nothing] for name, summaries in walked.items()}
    own = {name: found for name, some in lost.items() if (found := [one for one in some if not one.only_blocked])}
    said = [lost_at(bench, name, some, walked[name]) for name, some in (own or lost).items() if some]
    reasons = {
        video: why
        for some in (own or lost).values()
        for one in some
        for video, why in {**one.lost, **one.waiting}.items()
    }
    return dg.Failure(
        description="; ".join(said), metadata={"videos": dg.MetadataValue.json(reasons)}, allow_retries=False
    )


def lost_at(
    bench: Workbench, stage: str, lost: Sequence[PartitionSummary], summaries: Sequence[PartitionSummary]
) -> str:
    """What was not made at a stage, and why."""
    own = {video: why for summary in lost for video, why in summary.lost.items()}
    count = f"{sum(summary.videos for summary in lost)} of {sum(summary.videos for summary in summaries)}"
    known = {one.cause.key: one for one in bench.waits.waiting()}
    causes = {key: cause for summary in lost for key, cause in summary.causes.items()}
    said = [in_words(known[key]) if key in known else f"{c.title}: {c.detail}" for key, c in sorted(causes.items())]
    said += [f"{video}: {why}" for video, why in list(own.items())[:NAMED]]
    begin = f"{stage}: {count} not made" if own or not causes else f"{stage}: {count} wait for this machine"
    return f"{begin}: {'; '.join(said)}"


def run_has_other_assets(context: dg.AssetExecutionContext) -> bool:
    """Whether this run makes assets that are no stages; the step of one that stands behind a stage waits for an output.

    An output makes Dagster log all partitions of the run under one data version; what is logged of each behind it
    counts. The assets of egoworld itself never are in one run with stages.
    """
    return len(context.job_def.nodes) > 1
