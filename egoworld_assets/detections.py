"""detections: boxes of hands and moved objects."""

from egoworld_assets.quality import checks
from egoworld_resources.artifacts.stage import Stage

STAGE = Stage(
    "detections",
    description="Boxes around the hands and around what moves against the motion of the camera.",
    kinds=("opencv",),
    env="base",
    inputs=("videos", "clips", "hand_poses"),
    checks=(checks.found_or_said("detections"),),
    gates=(checks.boxes_inside,),
)
