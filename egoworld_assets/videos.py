"""videos: the file as it arrived, probed."""

from egoworld_assets.quality import checks
from egoworld_resources.artifacts.stage import Stage

STAGE = Stage(
    "videos",
    description="A video file: codec, size as displayed, times, damage and the index that gives every frame.",
    kinds=("video",),
    env="base",
    unit="video",
    checks=(
        checks.has_rows("videos"),
        checks.pictures_are_whole,
        checks.times_are_stamped,
    ),
)
