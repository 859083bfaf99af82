"""reconstructions: camera trajectory and points."""

from egoworld_assets.quality import checks
from egoworld_resources.artifacts.stage import Stage

STAGE = Stage(
    "reconstructions",
    description="Where the camera was in each frame, as far as it shows, its lens, and the static world as points.",
    kinds=("colmap",),
    env="pycolmap",
    inputs=("videos", "clips"),
    optional=("masks",),
    annotations=("lens",),
    checks=(checks.found_or_said("reconstructions", "registered"), checks.cameras_show_parallax),
    gates=(checks.cameras_are_real, checks.cameras_move_smoothly),
)
