"""detections: boxes of hands and moved objects."""

import dagster as dg

from egoworld_assets.orchestration.stage_asset import Step, materialize, stage_asset
from egoworld_assets.quality import checks
from egoworld_resources.artifacts.stage import Stage
from egoworld_resources.making.workbench import Workbench

STAGE = Stage(
    "detections",
    env="base",
    inputs=("videos", "clips", "hand_poses"),
    checks=(checks.boxes_inside,),
)


@stage_asset(STAGE, kinds={"opencv"})
def detections(context: dg.AssetExecutionContext, bench: dg.ResourceParam[Workbench]) -> Step:
    """Boxes around the hands and around what moves against the motion of the camera."""
    yield from materialize(context, bench, STAGE)
