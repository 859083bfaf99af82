"""previews: what a person looks at."""

import dagster as dg

from egoworld_assets.orchestration.stage_asset import Step, materialize, stage_asset
from egoworld_assets.quality import checks
from egoworld_resources.artifacts.stage import Stage
from egoworld_resources.making.workbench import Workbench

STAGE = Stage(
    "previews",
    env="rerun",
    inputs=("videos", "clips"),
    optional=("hand_poses", "detections", "masks", "tracks", "reconstructions", "object_poses", "robot_trajectories"),
    unit="video",
    checks=(checks.has_files("contact_sheet.png", "overlay.mp4", "recording.rrd"),),
    shows_quarantined=True,
)


@stage_asset(STAGE, kinds={"rerun"})
def previews(context: dg.AssetExecutionContext, bench: dg.ResourceParam[Workbench]) -> Step:
    """Contact sheet, overlay video and Rerun recording of all that was found, in quarantined videos too."""
    yield from materialize(context, bench, STAGE)
