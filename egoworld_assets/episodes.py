"""episodes: the video as robot-learning episodes."""

import dagster as dg

from egoworld_assets.orchestration.stage_asset import Step, materialize, stage_asset
from egoworld_assets.quality import checks
from egoworld_resources.artifacts.stage import Stage
from egoworld_resources.making.workbench import Workbench

STAGE = Stage(
    "episodes",
    env="base",
    inputs=("videos", "clips", "hand_poses", "robot_trajectories"),
    optional=("masks", "tracks", "reconstructions", "object_poses"),
    unit="video",
    checks=(checks.has_files("meta/info.json"),),
)


@stage_asset(STAGE, kinds={"table"})
def episodes(context: dg.AssetExecutionContext, bench: dg.ResourceParam[Workbench]) -> Step:
    """One LeRobot v3.0 dataset per video: an episode per clip with hand, camera, objects and robot joints."""
    yield from materialize(context, bench, STAGE)
