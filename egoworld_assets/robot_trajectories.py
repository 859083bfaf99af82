"""robot_trajectories: joint positions of a robot hand."""

from egoworld_assets.quality import checks
from egoworld_resources.artifacts.stage import Stage

STAGE = Stage(
    "robot_trajectories",
    description="Joint positions of a robot hand that follows the human hand.",
    kinds=("pytorch",),
    env="dex_retarget",
    inputs=("videos", "clips", "hand_poses"),
    checks=(checks.has_rows("robot_trajectories"),),
    gates=(checks.joints_move_physically,),
)
