"""masks: pixels of hands and objects."""

import dagster as dg

from egoworld_assets.orchestration.stage_asset import Step, materialize, stage_asset
from egoworld_assets.quality import checks
from egoworld_resources.artifacts.stage import Stage
from egoworld_resources.making.workbench import Workbench

STAGE = Stage(
    "masks",
    env="base",
    inputs=("videos", "clips", "hand_poses", "detections"),
    checks=(
        checks.has_rows("masks"),
        checks.masks_not_empty,
    ),
)


@stage_asset(STAGE, kinds={"opencv"})
def masks(context: dg.AssetExecutionContext, bench: dg.ResourceParam[Workbench]) -> Step:
    """Pixels of each hand and object, frame by frame, under one obj_id per clip."""
    yield from materialize(context, bench, STAGE)
