"""episodes: the video as robot-learning episodes."""

from egoworld_assets.quality import checks
from egoworld_resources.artifacts.stage import Stage

STAGE = Stage(
    "episodes",
    description="One LeRobot v3.0 dataset per video: an episode per clip with hand, camera, objects and robot joints.",
    kinds=("table",),
    env="base",
    inputs=("videos", "clips", "hand_poses", "robot_trajectories"),
    optional=("masks", "tracks", "reconstructions", "object_poses"),
    unit="video",
    checks=(checks.has_files("meta/info.json"),),
)
