"""object_poses: 6-D poses of objects."""

from egoworld_assets.quality import checks
from egoworld_resources.artifacts.stage import Stage

STAGE = Stage(
    "object_poses",
    description="6-D pose of each object in the camera; no row where the fit is not to be trusted.",
    kinds=("opencv",),
    env="base",
    inputs=("videos", "clips", "masks", "tracks", "reconstructions"),
    checks=(checks.found_or_said("object_poses"),),
    gates=(checks.poses_are_rigid,),
)
