"""What all stage assets share: partitions of videos, batches in backfills, and the step that makes artifacts."""

import warnings
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from egoworld_assets.orchestration.materializations import CHECK, Tally, materialization, result, verdict
from egoworld_assets.orchestration.partitions import VIDEOS
from egoworld_assets.orchestration.provenance import inputs_of
from egoworld_assets.orchestration.shards import videos_of
from egoworld_resources.artifacts.stage import Stage
from egoworld_resources.faults.causes import cause_of
from egoworld_resources.faults.waits import EVERYTHING, in_words
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
        def made(context: dg.AssetExecutionContext, bench: dg.ResourceParam[Workbench]) -> Step:
            yield from materialize(context, bench, stage)

    return made


def materialize(context: dg.AssetExecutionContext, bench: Workbench, stage: Stage) -> Step:
    """Make a stage's artifacts for the videos of this run's partitions.

    One partition: what its videos came to is the step's result. Several: each is logged by itself. A partition of which
    nothing came out fails the run in the end, by name; of any other the good videos go on, and the check and the
    metadata name the rest. A fault that may be gone in a moment is tried again at once; whatever else is no video's
    fault ends the run as waiting, and the sensor ``waiting`` asks for it again once the fault is gone.
    """
    run_id, asked = context.run.run_id, context.run.tags.get(AGAIN, "")
    bench.tried = EVERYTHING if context.retry_number else asked
    bench.unrecorded.clear()
    soon = context.retry_number < RETRIES and not asked
    partitions: dict[str, list[str]] = {}
    try:
        partitions = videos_of(context.partition_keys, lambda: videos_in(bench, run_id))
        read = inputs_of(context.instance, stage, list(partitions))
        tallies = tallied(bench, stage, partitions, run_id, (lambda: try_again(context, bench)) if soon else None)
    except (dg.RetryRequested, dg.Failure):
        raise
    except Exception as error:
        bench.wait(stage, [video for videos in partitions.values() for video in videos], error)
        bench.unrecorded.update(() if partitions else context.partition_keys)
        mark_waiting(context, bench, [cause_of(error, bench.work_at(stage)).key])
        raise
    if any(tally.waits and (soon or (tally.nothing and not tally.causes)) for tally in tallies):
        raise try_again(context, bench)
    causes = sorted({key for tally in tallies for key in tally.causes})
    if causes:
        mark_waiting(context, bench, causes)
    lost = [tally for tally in tallies if tally.nothing]
    told = [tally for tally in tallies if not tally.nothing]
    if len(tallies) == 1 and not lost:
        yield result(bench, stage, tallies[0], read[tallies[0].partition])
        return
    if others_in_run(context) and not lost:
        yield dg.MaterializeResult()
    for tally in told:
        context.log_event(materialization(bench, stage, tally, read[tally.partition]))
    if lost:
        raise not_made(bench, stage, lost, tallies)
    yield verdict(told)


def mark_waiting(context: dg.AssetExecutionContext, bench: Workbench, causes: Sequence[str]) -> None:
    """Let the run be found by what it waits for. What the ledger could not take is found by its tag alone."""
    unrecorded = {UNRECORDED: "yes"} if bench.unrecorded else {}
    context.instance.add_run_tags(context.run.run_id, {WAITS: ", ".join(causes)[:TAG_LENGTH], **unrecorded})


def try_again(context: dg.AssetExecutionContext, bench: Workbench) -> dg.RetryRequested:
    """Asks Dagster for another try, later each time."""
    return dg.RetryRequested(RETRIES, bench.settings.retry_delay_s * 2**context.retry_number)


def tallied(
    bench: Workbench,
    stage: Stage,
    partitions: Mapping[str, Sequence[str]],
    run_id: str,
    stuck: Callable[[], Exception] | None,
) -> list[Tally]:
    """What the videos of each partition came to. Raises ``stuck``, if given, when a whole batch could only be tried
    later: then the others can, too.
    """
    tallies = {partition: Tally(partition) for partition in partitions}
    tally_of = {video: tallies[partition] for partition, videos in partitions.items() for video in videos}
    alone = {video for videos in partitions.values() if len(videos) == 1 for video in videos}
    waiting = 0
    for outcome in make_each(bench, stage, tally_of, run_id, alone):
        tally_of[outcome.video].add(bench, outcome)
        waiting = waiting + 1 if outcome.transient else 0 if outcome.state == "made" else waiting
        if stuck and waiting >= bench.settings.batch:
            raise stuck()
    return list(tallies.values())


def make_each(
    bench: Workbench, stage: Stage, videos: Iterable[str], run_id: str, again: Container[str]
) -> Iterator[Outcome]:
    """Make an asset for any number of videos, ``settings.batch`` to a load of the model.

    Outcomes come when their batch is in the store, and nothing is kept of it here: memory, and what kill -9 costs, are
    those of one batch. What failed as it is now is tried again only when it is in ``again``.
    """
    todo: list[str] = []
    for video in videos:
        settled = settled_outcome(bench, stage, video, video in again)
        if settled:
            bench.waits.settle(stage.name, [video])
            yield settled
            continue
        todo.append(video)
        if len(todo) >= bench.settings.batch:
            yield from bench.make(stage, todo, run_id)
            todo = []
    if todo:
        yield from bench.make(stage, todo, run_id)


def settled_outcome(bench: Workbench, stage: Stage, video: str, again: bool) -> Outcome | None:
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
        case "failed" if not again and (stage.name, video) not in bench.retried:
            return Outcome(video, "failed", state.why)
        case _:
            return Outcome(video, "left") if bench.chosen is not None and video not in bench.chosen else None


def not_made(bench: Workbench, stage: Stage, lost: Sequence[Tally], tallies: Sequence[Tally]) -> dg.Failure:
    """The end of a run that has partitions of which nothing came out. Each cause for which some wait is said once."""
    reasons = {video: why for tally in lost for video, why in {**tally.lost, **tally.waiting}.items()}
    own = {video: why for tally in lost for video, why in tally.lost.items()}
    count = f"{sum(tally.videos for tally in lost)} of {sum(tally.videos for tally in tallies)}"
    known = {one.cause.key: one for one in bench.waits.waiting()}
    causes = {key: cause for tally in lost for key, cause in tally.causes.items()}
    said = [in_words(known[key]) if key in known else f"{c.title}: {c.detail}" for key, c in sorted(causes.items())]
    said += [f"{video}: {why}" for video, why in list(own.items())[:NAMED]]
    begin = f"{stage.name}: {count} not made" if own or not causes else f"{stage.name}: {count} wait for this machine"
    return dg.Failure(
        description=f"{begin}: {'; '.join(said)}",
        metadata={"videos": dg.MetadataValue.json(reasons)},
        allow_retries=False,
    )


def others_in_run(context: dg.AssetExecutionContext) -> bool:
    """Whether this run makes more than this asset of its videos; then the next step waits for an output.

    An output makes Dagster log all partitions of the run under one data version; what is logged of each behind it
    counts. A backfill of assets gives each stage its own run, so there it never happens.
    """
    return len(context.job_def.nodes) > 1


def videos_in(bench: Workbench, run_id: str) -> Sequence[str]:
    """Keys of all videos, listed once in a run; what arrives later is for the next."""
    if bench.listed is None or bench.listed[0] != run_id:
        bench.listed = (run_id, bench.store.keys("videos"))
    return bench.listed[1]
