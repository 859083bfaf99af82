"""What all stage assets share: one partition per video, batches in backfills, and the step that makes artifacts."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import dagster as dg

from egoworld_resources.manifest import NOT_CONTENTS, Manifest, Recipe, digest
from egoworld_resources.stage import Stage
from egoworld_resources.workbench import Outcome, Workbench

VIDEOS = dg.DynamicPartitionsDefinition(name="videos")
"""One partition per video file; clips are rows, never partitions."""

CHECK = "valid"
BATCH = 32
RETRIES = 3
SHOWN = 5

Upstream = dg.AssetsDefinition
Step = Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]


def backfill_batches(inputs: int) -> dg.BackfillPolicy:
    """Batches of videos per run, of another size for a stage than for its inputs.

    Dagster puts a stage into the run of its input when both have the same policy, and such a run goes on with all of
    its videos or with none. With another size each stage gets its own runs, and just the videos that got through one
    stage go on to the next. A stage has more inputs than any of these, so their number sets the sizes apart.
    """
    return dg.BackfillPolicy.multi_run(max_partitions_per_run=BATCH + inputs)


def stage_asset(
    stage: Stage, *, deps: Sequence[Upstream], kinds: set[str], pool: str = "cpu"
) -> Callable[[Callable[..., Step]], dg.AssetsDefinition]:
    """Declare the asset of a stage, made video by video or in batches.

    deps: the assets that stand directly before it; what it reads from further up (stage.inputs) is behind those, and
    left out so that the graph stays readable.
    """
    rules = "; ".join((check.__doc__ or "").split("\n")[0] for check in stage.checks)

    def declare(step: Callable[..., Step]) -> dg.AssetsDefinition:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", dg.BetaWarning
            )  # backfill policies, in use since 1.5, are still marked beta
            return dg.asset(
                name=stage.name,
                deps=list(deps),
                partitions_def=VIDEOS,
                backfill_policy=backfill_batches(len(stage.inputs) + len(stage.optional)),
                output_required=False,
                group_name="video_to_dataset",
                kinds=kinds,
                owners=["team:egoworld"],
                pool=pool,
                check_specs=[dg.AssetCheckSpec(CHECK, asset=stage.name, blocking=True, description=rules)],
            )(step)

    return declare


def materialize(context: dg.AssetExecutionContext, bench: Workbench, stage: Stage) -> Step:
    """Make a stage's artifacts for the videos of this run.

    One video: its result is the step's. Several: each that was made is logged under its own partition and data version,
    and the run fails in the end, naming the others, when any was not. Only transient faults are tried again.
    """
    videos = list(context.partition_keys)
    outcomes = bench.make(stage, videos, context.run.run_id)
    made = [outcome for outcome in outcomes if outcome.manifest]
    lost = {outcome.video: outcome.why for outcome in outcomes if not outcome.manifest}
    if any(outcome.transient for outcome in outcomes):
        raise dg.RetryRequested(RETRIES, bench.settings.retry_delay_s * 2**context.retry_number)
    if len(videos) == 1 and made:
        yield result(bench, made[0])
        return
    for outcome in made:
        log_partition(context, bench, outcome)
    if lost:
        reasons = "; ".join(f"{video}: {why}" for video, why in lost.items())
        raise dg.Failure(
            description=f"{stage.name}: {len(lost)} of {len(videos)} not made: {reasons}",
            metadata={"videos": dg.MetadataValue.json(lost)},
            allow_retries=False,
        )
    yield batch_verdict(made)
    if others_in_run(context):
        yield dg.MaterializeResult()


def others_in_run(context: dg.AssetExecutionContext) -> bool:
    """Whether this run makes more than this asset of its videos; then the next step waits for an output.

    An output makes Dagster log all videos of the run once more, under one data version. A backfill of assets gives each
    stage its own run, so there it never happens.
    """
    return len(context.job_def.nodes) > 1


def result(bench: Workbench, outcome: Outcome) -> dg.MaterializeResult[Any]:
    """What Dagster is told of one artifact."""
    manifest = outcome.manifest
    assert manifest is not None
    return dg.MaterializeResult(
        metadata=describe(bench, outcome),
        data_version=dg.DataVersion(manifest.data_version),
        check_results=[
            dg.AssetCheckResult(
                check_name=CHECK, passed=not manifest.quarantine, description=manifest.quarantine or None
            )
        ],
    )


def batch_verdict(made: Sequence[Outcome]) -> dg.AssetCheckResult:
    """The check over several videos: a warning, since the good ones go on; the metadata names the others and why."""
    bad = {o.video: o.manifest.quarantine for o in made if o.manifest and o.manifest.quarantine}
    told = "; ".join(f"{video}: {why}" for video, why in list(bad.items())[:SHOWN])
    return dg.AssetCheckResult(
        check_name=CHECK,
        passed=not bad,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{len(bad)} of {len(made)} quarantined: {told}" if bad else f"{len(made)} videos",
        metadata={"quarantined": dg.MetadataValue.json(bad)},
    )


def log_partition(context: dg.AssetExecutionContext, bench: Workbench, outcome: Outcome) -> None:
    """The same for one of several videos in a run."""
    manifest = outcome.manifest
    assert manifest is not None
    context.log_event(
        dg.AssetMaterialization(
            asset_key=manifest.asset,
            partition=manifest.video,
            metadata=describe(bench, outcome),
            tags={
                "dagster/data_version": manifest.data_version,
                "dagster/code_version": code_version(manifest.recipe),
            },
        )
    )


def code_version(recipe: Recipe) -> str:
    """What Dagster compares: lock, runner, contract, weights and parameters in one short digest."""
    return digest(recipe.model_dump(mode="json", exclude=NOT_CONTENTS))[:12]


def describe(bench: Workbench, outcome: Outcome) -> dict[str, Any]:
    """Metadata of one materialization: numbers to plot, provenance, and the contact sheet where there is one."""
    manifest = outcome.manifest
    assert manifest is not None
    sheet = next((f.path for f in manifest.files if f.path.endswith("contact_sheet.png")), None)
    shown = {"contact_sheet": dg.MetadataValue.md(f"![contact sheet]({url(bench, manifest, sheet)})")} if sheet else {}
    return {
        **shown,
        "state": outcome.state,
        "seconds": manifest.seconds,
        "bytes": sum(file.bytes for file in manifest.files),
        **{f"rows/{table}": rows for table, rows in manifest.rows.items()},
        **notes(manifest),
        "env": manifest.recipe.env + (f" ({manifest.recipe.label})" if manifest.recipe.label else ""),
        "lock": manifest.recipe.lock[:12],
        "fingerprint": manifest.fingerprint[:12],
        "licences": ", ".join(manifest.licences),
        "folder": dg.MetadataValue.path(bench.store.where(manifest)),
        "clips": dg.MetadataValue.json([report.model_dump(mode="json") for report in manifest.clips]),
    }


def url(bench: Workbench, manifest: Manifest, file: str) -> str:
    """Where a browser gets one file of an artifact while `make ui` runs."""
    return f"{bench.settings.files_url}/{manifest.asset}/{manifest.video}/{manifest.data_version}/{file}"


def notes(manifest: Manifest) -> dict[str, float]:
    """Numeric notes of the runner, as the mean over the clips."""
    values: dict[str, list[float]] = {}
    for clip in manifest.clips:
        for name, value in clip.notes.items():
            if isinstance(value, int | float):
                values.setdefault(f"note/{name}", []).append(float(value))
    return {name: sum(found) / len(found) for name, found in values.items()}
