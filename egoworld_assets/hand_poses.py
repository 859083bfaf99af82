"""hand_poses: 21 joints per hand."""

from egoworld_assets.quality import checks
from egoworld_resources.artifacts.stage import Stage

STAGE = Stage(
    "hand_poses",
    description="21 joints of each hand in each frame, in the picture (px) and in space (m), left apart from right.",
    kinds=("table",),
    env="mediapipe",
    inputs=("videos", "clips"),
    checks=(checks.hands_found, checks.hands_kept),
    gates=(checks.hands_differ, checks.hands_move_physically, checks.hands_are_alive),
)
