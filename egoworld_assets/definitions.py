"""All of egoworld for Dagster. Importing this does nothing; Dagster calls ``defs`` when it loads the code location."""

from __future__ import annotations

import warnings

import dagster as dg

from egoworld_assets.arrival import inbox
from egoworld_assets.retention import event_log_retention, nightly_retention
from egoworld_assets.stages import modules, stages
from egoworld_assets.told import code_version
from egoworld_assets.upkeep import DATASET, FLOW, dead_runs, hourly_quarantine, nightly_refresh
from egoworld_resources.settings import Settings
from egoworld_resources.workbench import Workbench

LOGGERS = {"text": dg.colored_console_logger, "json": dg.json_console_logger}


def build(bench: Workbench) -> dg.Definitions:
    """The definitions on one workbench; each asset carries the code version of the recipe in force."""
    # Stages have batches of different sizes on purpose, see partitions.backfill_batches.
    warnings.filterwarnings("ignore", message="(?s)Asset job .* materializes assets with varying BackfillPolicies")
    versions = {name: code_version(bench.recipe(stage)) for name, stage in stages().items()}

    def with_version(spec: dg.AssetSpec) -> dg.AssetSpec:
        name = spec.key.to_user_string()
        return spec.replace_attributes(code_version=versions[name]) if name in versions else spec

    loaded = dg.load_assets_from_modules(modules())
    assets = [asset for asset in loaded if isinstance(asset, dg.AssetsDefinition)]
    return dg.Definitions(
        assets=dg.map_asset_specs(with_version, assets),
        jobs=[FLOW, DATASET, event_log_retention],
        sensors=[inbox, dead_runs],
        schedules=[nightly_refresh, hourly_quarantine, nightly_retention],
        resources={"bench": bench},
        executor=dg.in_process_executor,
        loggers={"console": LOGGERS[bench.settings.log_format]},
    )


@dg.definitions
def defs() -> dg.Definitions:
    """The code location."""
    return build(Workbench(Settings.load()))
