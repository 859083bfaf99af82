"""object_poses: 6-D poses of objects."""

import dagster as dg

from egoworld_assets.orchestration.stage_asset import Step, materialize, stage_asset
from egoworld_assets.quality import checks
from egoworld_resources.artifacts.stage import Stage
from egoworld_resources.making.workbench import Workbench

STAGE = Stage(
    "object_poses",
    env="base",
    inputs=("videos", "clips", "masks", "tracks", "reconstructions"),
    checks=(checks.poses_are_rigid,),
)


@stage_asset(STAGE, kinds={"opencv"})
def object_poses(context: dg.AssetExecutionContext, bench: dg.ResourceParam[Workbench]) -> Step:
    """6-D pose of each object in the camera; no row where the fit is not to be trusted."""
    yield from materialize(context, bench, STAGE)
