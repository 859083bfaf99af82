"""tracks: points followed over time."""

from egoworld_assets.quality import checks
from egoworld_resources.artifacts.stage import Stage

STAGE = Stage(
    "tracks",
    description="Points followed from frame to frame, each with the object that it lies on.",
    kinds=("opencv",),
    env="base",
    inputs=("videos", "clips", "masks"),
    checks=(checks.has_rows("tracks"),),
)
