"""reconstructions: camera trajectory and points."""

from egoworld_assets.quality import checks
from egoworld_resources.artifacts.stage import Stage

STAGE = Stage(
    "reconstructions",
    description="Where the camera was in each frame, its intrinsics, and the static world as points.",
    kinds=("colmap",),
    env="pycolmap",
    inputs=("videos", "clips", "masks"),
    checks=(
        checks.cameras_are_real,
        checks.cameras_move_smoothly,
    ),
)
