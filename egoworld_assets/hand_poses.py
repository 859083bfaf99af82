"""hand_poses: 21 joints per hand."""

import dagster as dg

from egoworld_assets.orchestration.stage_asset import Step, materialize, stage_asset
from egoworld_assets.quality import checks
from egoworld_resources.artifacts.stage import Stage
from egoworld_resources.making.workbench import Workbench

STAGE = Stage(
    "hand_poses",
    env="mediapipe",
    inputs=("videos", "clips"),
    checks=(
        checks.has_rows("hand_poses"),
        checks.hands_differ,
        checks.hands_move_physically,
    ),
)


@stage_asset(STAGE, kinds={"table"})
def hand_poses(context: dg.AssetExecutionContext, bench: dg.ResourceParam[Workbench]) -> Step:
    """21 joints of each hand in each frame, in the picture (px) and in space (m), left and right told apart."""
    yield from materialize(context, bench, STAGE)
