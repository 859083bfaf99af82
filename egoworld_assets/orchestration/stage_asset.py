"""What all stage assets share: partitions of videos, batches in backfills, and the step that makes artifacts."""

import warnings
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from egoworld_assets.orchestration.materializations import (
    CHECK,
    PartitionSummary,
    materialization,
    materialize_result,
    verdict,
)
from egoworld_assets.orchestration.partitions import VIDEOS
from egoworld_assets.orchestration.provenance import inputs_of
from egoworld_assets.orchestration.request import Request
from egoworld_assets.orchestration.shards import videos_of
from egoworld_resources.artifacts.stage import Stage
from egoworld_resources.faults.causes import cause_of
from egoworld_resources.faults.waits import EVERYTHING, in_words
from egoworld_resources.making.waiting import Run, wait, work_at
from egoworld_resources.making.workbench import Outcome, Workbench

BATCH = 32
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


def backfill_batches(inputs: int) -> dg.BackfillPolicy:
    """Batches of videos per run, of another size for a stage than for its inputs.

    Dagster puts a stage into the run of its input when both have the same policy, and such a run goes on with all of
    its videos or with none. With another size each stage gets its own runs, and just the videos that got through one
    stage go on to the next. A stage has more inputs than any of these, so their number sets the sizes apart. None is
    above BATCH, the default of settings.batch: then one load of the model serves a run.
    """
    return dg.BackfillPolicy.multi_run(max_partitions_per_run=max(1, BATCH - inputs))


def stage_asset(stage: Stage) -> dg.AssetsDefinition:
    """The asset of a stage, made video by video or in batches.

    Everything that it reads stands directly before it, so that Dagster's graph and its staleness are those of the
    stage.
    """
    before = (*stage.inputs, *stage.optional)
    rules = "; ".join((check.__doc__ or "").split("\n")[0] for check in stage.checks)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # backfill policies, in use since 1.5, are still marked beta

        @dg.asset(
            name=stage.name,
            description=stage.description,
            deps=[dg.AssetKey(name) for name in before],
            partitions_def=VIDEOS,
            backfill_policy=backfill_batches(len(before)),
            output_required=False,
            group_name="video_to_dataset",
            kinds=set(stage.kinds),
            owners=["team:egoworld"],
            pool="cpu",
            check_specs=[dg.AssetCheckSpec(CHECK, asset=stage.name, blocking=True, description=rules)],
        )
        def made(
            context: dg.AssetExecutionContext, bench: dg.ResourceParam[Workbench], request: dg.ResourceParam[Request]
        ) -> Step:
            yield from materialize(context, bench, request, stage)

    return made


def materialize(context: dg.AssetExecutionContext, bench: Workbench, request: Request, stage: Stage) -> Step:
    """Make a stage's artifacts for the videos of this run's partitions.

    One partition: what its videos came to is the step's result. Several: each is logged by itself. A partition of which
    nothing came out fails the run in the end, by name; of any other the good videos go on, and the check and the
    metadata name the rest. A fault that may be gone in a moment is tried again at once; whatever else is no video's
    fault ends the run as waiting, and the sensor ``waiting`` asks for it again once the fault is gone.
    """
    run_id, asked = context.run.run_id, context.run.tags.get(AGAIN, "")
    run = Run(run_id, request.listener, EVERYTHING if context.retry_number else asked)
    soon = context.retry_number < RETRIES and not asked
    partitions: dict[str, list[str]] = {}
    try:
        partitions = videos_of(context.partition_keys, lambda: request.all_videos(bench))
        read = inputs_of(context.instance, stage, list(partitions))
        stuck = (lambda: try_again(context, bench)) if soon else None
        summaries = summarize_partitions(bench, run, request, stage, partitions, stuck)
    except (dg.RetryRequested, dg.Failure):
        raise
    except Exception as error:
        wait(bench, run, stage, [video for videos in partitions.values() for video in videos], error)
        run.unrecorded.update(() if partitions else context.partition_keys)
        mark_waiting(context, run, [cause_of(error, work_at(bench, stage)).key])
        raise
    if any(summary.waits and (soon or (summary.nothing and not summary.causes)) for summary in summaries):
        raise try_again(context, bench)
    causes = sorted({key for summary in summaries for key in summary.causes})
    if causes:
        mark_waiting(context, run, causes)
    lost = [summary for summary in summaries if summary.nothing]
    told = [summary for summary in summaries if not summary.nothing]
    if len(summaries) == 1 and not lost:
        yield materialize_result(bench, stage, summaries[0], read[summaries[0].partition])
        return
    if run_has_other_assets(context) and not lost:
        yield dg.MaterializeResult()
    for summary in told:
        context.log_event(materialization(bench, stage, summary, read[summary.partition]))
    if lost:
        raise not_made(bench, stage, lost, summaries)
    yield verdict(told)


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
    except Exception:  # noqa: BLE001 whoever makes it meets it again, and knows whose fault it is
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


def not_made(
    bench: Workbench, stage: Stage, lost: Sequence[PartitionSummary], summaries: Sequence[PartitionSummary]
) -> dg.Failure:
    """The end of a run that has partitions of which nothing came out. Each cause for which some wait is said once."""
    reasons = {video: why for summary in lost for video, why in {**summary.lost, **summary.waiting}.items()}
    own = {video: why for summary in lost for video, why in summary.lost.items()}
    count = f"{sum(summary.videos for summary in lost)} of {sum(summary.videos for summary in summaries)}"
    known = {one.cause.key: one for one in bench.waits.waiting()}
    causes = {key: cause for summary in lost for key, cause in summary.causes.items()}
    said = [in_words(known[key]) if key in known else f"{c.title}: {c.detail}" for key, c in sorted(causes.items())]
    said += [f"{video}: {why}" for video, why in list(own.items())[:NAMED]]
    begin = f"{stage.name}: {count} not made" if own or not causes else f"{stage.name}: {count} wait for this machine"
    return dg.Failure(
        description=f"{begin}: {'; '.join(said)}",
        metadata={"videos": dg.MetadataValue.json(reasons)},
        allow_retries=False,
    )


def run_has_other_assets(context: dg.AssetExecutionContext) -> bool:
    """Whether this run makes more than this asset of its videos; then the next step waits for an output.

    An output makes Dagster log all partitions of the run under one data version; what is logged of each behind it
    counts. A backfill of assets gives each stage its own run, so there it never happens.
    """
    return len(context.job_def.nodes) > 1
