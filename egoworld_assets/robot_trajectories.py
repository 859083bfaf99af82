"""robot_trajectories: joint positions of a robot hand."""

import dagster as dg

from egoworld_assets.orchestration.stage_asset import Step, materialize, stage_asset
from egoworld_assets.quality import checks
from egoworld_resources.artifacts.stage import Stage
from egoworld_resources.making.workbench import Workbench

STAGE = Stage(
    "robot_trajectories",
    env="dex_retarget",
    inputs=("videos", "clips", "hand_poses"),
    checks=(
        checks.has_rows("robot_trajectories"),
        checks.joints_move_physically,
    ),
)


@stage_asset(STAGE, kinds={"pytorch"})
def robot_trajectories(context: dg.AssetExecutionContext, bench: dg.ResourceParam[Workbench]) -> Step:
    """Joint positions of a robot hand that follows the human hand."""
    yield from materialize(context, bench, STAGE)
