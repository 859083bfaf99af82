"""masks: pixels of hands and objects."""

from egoworld_assets.quality import checks
from egoworld_resources.artifacts.stage import Stage

STAGE = Stage(
    "masks",
    description="Pixels of each hand and object, frame by frame, under one obj_id per clip.",
    kinds=("opencv",),
    env="base",
    inputs=("videos", "clips", "hand_poses", "detections"),
    annotations=("prompts",),
    checks=(checks.has_rows("masks"),),
    gates=(checks.masks_not_empty,),
)
