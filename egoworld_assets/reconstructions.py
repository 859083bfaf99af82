"""reconstructions: camera trajectory and points."""

import dagster as dg

from egoworld_assets.orchestration.stage_asset import Step, materialize, stage_asset
from egoworld_assets.quality import checks
from egoworld_resources.artifacts.stage import Stage
from egoworld_resources.making.workbench import Workbench

STAGE = Stage(
    "reconstructions",
    env="pycolmap",
    inputs=("videos", "clips", "masks"),
    checks=(
        checks.cameras_are_real,
        checks.cameras_move_smoothly,
    ),
)


@stage_asset(STAGE, kinds={"colmap"})
def reconstructions(context: dg.AssetExecutionContext, bench: dg.ResourceParam[Workbench]) -> Step:
    """Where the camera was in each frame, its intrinsics, and the static world as points."""
    yield from materialize(context, bench, STAGE)
