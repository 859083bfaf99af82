"""previews: what a person looks at."""

from egoworld_assets.quality import checks
from egoworld_resources.artifacts.stage import Stage

STAGE = Stage(
    "previews",
    description="Contact sheet, overlay video and Rerun recording of all that was found, in quarantined videos too.",
    kinds=("rerun",),
    env="rerun",
    inputs=("videos", "clips"),
    optional=("hand_poses", "detections", "masks", "tracks", "reconstructions", "object_poses", "robot_trajectories"),
    unit="video",
    checks=(checks.has_files("contact_sheet.png", "overlay.mp4", "recording.rrd"),),
    shows_quarantined=True,
)
