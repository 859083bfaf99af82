"""All of egoworld for Dagster. Importing this does nothing; Dagster calls ``defs`` when it loads the code location."""

from __future__ import annotations

import importlib
import pkgutil
import warnings
from functools import cache
from graphlib import TopologicalSorter
from types import ModuleType

import dagster as dg

import egoworld_assets
from egoworld_assets.arrival import inbox
from egoworld_assets.partitions import code_version
from egoworld_assets.upkeep import DATASET, FLOW, nightly_refresh
from egoworld_resources.settings import Settings
from egoworld_resources.stage import Stage
from egoworld_resources.workbench import Workbench

NOT_ASSETS = ("cli", "definitions", "flow", "progress", "report", "upkeep", "viewing")


@cache
def modules() -> tuple[ModuleType, ...]:
    """The asset modules of this package: a new stage is a new file, listed nowhere."""
    names = [m.name for m in pkgutil.iter_modules(egoworld_assets.__path__) if m.name not in NOT_ASSETS]
    return tuple(importlib.import_module(f"egoworld_assets.{name}") for name in names)


@cache
def stages() -> dict[str, Stage]:
    """Every stage by name, inputs first."""
    found: dict[str, Stage] = {m.STAGE.name: m.STAGE for m in modules() if hasattr(m, "STAGE")}
    order = TopologicalSorter({name: sorted({*stage.inputs, *stage.optional}) for name, stage in sorted(found.items())})
    return {name: found[name] for name in order.static_order()}


def build(bench: dg.ResourceParam[Workbench]) -> dg.Definitions:
    """The definitions on one workbench; each asset carries the code version of the recipe in force."""
    # Stages have batches of different sizes on purpose, see partitions.backfill_batches.
    warnings.filterwarnings("ignore", message="(?s)Asset job .* materializes assets with varying BackfillPolicies")
    versions = {name: code_version(bench.recipe(stage)) for name, stage in stages().items()}

    def with_version(spec: dg.AssetSpec) -> dg.AssetSpec:
        name = spec.key.to_user_string()
        return spec.replace_attributes(code_version=versions[name]) if name in versions else spec

    return dg.Definitions(
        assets=dg.map_asset_specs(with_version, dg.load_assets_from_modules(modules())),
        jobs=[FLOW, DATASET],
        sensors=[inbox],
        schedules=[nightly_refresh],
        resources={"bench": bench},
        executor=dg.in_process_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """The code location."""
    return build(Workbench(Settings.load()))
