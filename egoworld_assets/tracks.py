"""tracks: points followed over time."""

import dagster as dg

from egoworld_assets.orchestration.stage_asset import Step, materialize, stage_asset
from egoworld_assets.quality import checks
from egoworld_resources.artifacts.stage import Stage
from egoworld_resources.making.workbench import Workbench

STAGE = Stage(
    "tracks",
    env="base",
    inputs=("videos", "clips", "masks"),
    checks=(checks.has_rows("tracks"),),
)


@stage_asset(STAGE, kinds={"opencv"})
def tracks(context: dg.AssetExecutionContext, bench: dg.ResourceParam[Workbench]) -> Step:
    """Points followed from frame to frame, each with the object that it lies on."""
    yield from materialize(context, bench, STAGE)
