"""All of egoworld for Dagster. Importing this does nothing; Dagster calls ``defs`` when it loads the code location."""

from __future__ import annotations

import logging

import dagster as dg

from egoworld_assets.automation import dataset_asset, pace, quarantine, supply
from egoworld_assets.automation.dead_runs import noting_processes
from egoworld_assets.automation.event_log_retention import event_log_retention
from egoworld_assets.automation.follow import dataset_follows
from egoworld_assets.automation.inbox_sensor import inbox_every
from egoworld_assets.automation.jobs import DATASET, FLOW, GROUP, SUPPLY
from egoworld_assets.automation.night import nightly_refresh
from egoworld_assets.automation.restart import dead_runs, lost_restarts
from egoworld_assets.automation.schedules import QUARANTINE, hourly_quarantine, nightly_retention
from egoworld_assets.automation.waiting import waiting_sensor
from egoworld_assets.orchestration.materializations import code_version
from egoworld_assets.orchestration.registry import modules, stages
from egoworld_assets.orchestration.request import Request
from egoworld_assets.orchestration.stage_assets import stage_assets
from egoworld_assets.orchestration.weights_resource import WeightsResource
from egoworld_resources.making.workbench import Workbench
from egoworld_resources.settings import Settings

log = logging.getLogger(__name__)
LOGGERS = {"text": dg.colored_console_logger, "json": dg.json_console_logger}


def build(bench: Workbench, request: Request | None = None) -> dg.Definitions:
    """The definitions on one workbench; each asset carries the code version of the recipe in force."""
    versions = code_versions(bench)

    def with_version(spec: dg.AssetSpec) -> dg.AssetSpec:
        name = spec.key.to_user_string()
        return spec.replace_attributes(code_version=versions[name]) if name in versions else spec

    loaded = dg.load_assets_from_modules([*modules(), dataset_asset, quarantine, supply])
    assets = [asset for asset in loaded if isinstance(asset, dg.AssetsDefinition)]
    assets.append(stage_assets(stages().values(), bench.settings.batch))
    return dg.Definitions(
        assets=dg.map_asset_specs(with_version, assets),
        jobs=[FLOW, DATASET, QUARANTINE, SUPPLY, event_log_retention],
        sensors=[*sensors(bench.settings.sensors_every_s), waiting_sensor(bench.settings)],
        schedules=[hourly_quarantine, nightly_retention],
        resources=resources(bench, request),
        executor=dg.in_process_executor,
        loggers={"console": LOGGERS[bench.settings.log_format]},
    )


def resources(bench: Workbench, request: Request | None = None) -> dict[str, dg.ResourceDefinition]:
    """What the assets need: the workbench, the weights, and what a command asks of its runs."""
    asked = (request or Request()).for_each_run()
    return {"bench": noting_processes(bench), "weights": WeightsResource().get_resource_definition(), "request": asked}


def sensors(every_s: int) -> list[dg.SensorDefinition]:
    """All sensors."""
    return [
        inbox_every(every_s),
        pace.sensor(dead_runs, every_s),
        pace.sensor(lost_restarts, every_s, target=GROUP),
        pace.sensor(nightly_refresh, every_s, target=GROUP),
        pace.sensor(dataset_follows, every_s, job=DATASET),
    ]


def code_versions(bench: Workbench) -> dict[str, str]:
    """The code version of each stage but those whose env is broken: that holds up these, not the code location."""
    versions: dict[str, str] = {}
    broken: dict[str, list[str]] = {}
    for name, stage in stages().items():
        try:
            versions[name] = code_version(bench.recipe(stage))
        except Exception as error:  # noqa: BLE001 making it meets the error again and reports it
            broken.setdefault(str(error), []).append(name)
    for why, names in broken.items():
        log.warning("%s cannot be made: %s", ", ".join(names), why)
    return versions


@dg.definitions
def defs() -> dg.Definitions:
    """The code location."""
    return build(Workbench(Settings.load()))
