"""The assets of all stages, which one step makes: batches of videos go through as many of them as a run selects."""

import warnings
from collections.abc import Iterable, Sequence

import dagster as dg

from egoworld_assets.orchestration.materializations import CHECK
from egoworld_assets.orchestration.partitions import VIDEOS
from egoworld_assets.orchestration.request import Request
from egoworld_assets.orchestration.walk import Step, walk
from egoworld_resources.artifacts.stage import Stage
from egoworld_resources.making.workbench import Workbench


def stage_assets(stages: Iterable[Stage], batch: int = 32) -> dg.AssetsDefinition:
    """An asset for each stage, inputs first. Any of them can be made alone, or many in one run.

    batch: partitions of a run in a backfill, as many as one load of a model serves.

    They share a step because Dagster lets a step go on with all partitions of the step before it or with none: here a
    video that fails somewhere stops there, and the others of its run go on. Everything that a stage reads stands
    directly before it, so that Dagster's graph and its staleness are those of the stage.
    """
    walked = list(stages)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # backfill policies, in use since 1.5, are still marked beta

        @dg.multi_asset(
            name="stages",
            description="Makes the selected stages of some videos, a stage after the other.",
            specs=[spec_of(stage) for stage in walked],
            check_specs=[check_of(stage) for stage in walked],
            partitions_def=VIDEOS,
            backfill_policy=dg.BackfillPolicy.multi_run(max_partitions_per_run=batch),
            can_subset=True,
            pool="cpu",
        )
        def made(
            context: dg.AssetExecutionContext, bench: dg.ResourceParam[Workbench], request: dg.ResourceParam[Request]
        ) -> Step:
            yield from walk(context, bench, request, selected(context, walked))

    return made


def selected(context: dg.AssetExecutionContext, stages: Sequence[Stage]) -> list[Stage]:
    """The stages that a run makes."""
    return [stage for stage in stages if dg.AssetKey(stage.name) in context.selected_asset_keys]


def spec_of(stage: Stage) -> dg.AssetSpec:
    """A stage as Dagster shows it."""
    return dg.AssetSpec(
        stage.name,
        description=stage.description,
        deps=[dg.AssetKey(name) for name in (*stage.inputs, *stage.optional)],
        group_name="video_to_dataset",
        kinds=set(stage.kinds),
        owners=["team:egoworld"],
        skippable=True,
    )


def check_of(stage: Stage) -> dg.AssetCheckSpec:
    """All checks of a stage as one of Dagster's."""
    rules = "; ".join((check.__doc__ or "").split("\n")[0] for check in (*stage.checks, *stage.gates))
    return dg.AssetCheckSpec(CHECK, asset=stage.name, blocking=True, description=rules)
