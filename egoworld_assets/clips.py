"""clips: spans between cuts."""

import dagster as dg

from egoworld_assets.orchestration.stage_asset import Step, materialize, stage_asset
from egoworld_assets.quality import checks
from egoworld_resources.artifacts.stage import Stage
from egoworld_resources.making.workbench import Workbench

STAGE = Stage(
    "clips",
    env="base",
    inputs=("videos",),
    unit="video",
    checks=(
        checks.has_rows("clips"),
        checks.clips_in_order,
    ),
)


@stage_asset(STAGE, kinds={"table"})
def clips(context: dg.AssetExecutionContext, bench: dg.ResourceParam[Workbench]) -> Step:
    """Spans of the video between cuts; long shots are split. Everything after this stage works clip by clip."""
    yield from materialize(context, bench, STAGE)
