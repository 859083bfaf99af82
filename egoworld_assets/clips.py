"""clips: spans between cuts."""

from egoworld_assets.quality import checks
from egoworld_resources.artifacts.stage import Stage

STAGE = Stage(
    "clips",
    description="Spans of the video between cuts; long shots are split. Every later stage works clip by clip.",
    kinds=("table",),
    env="base",
    inputs=("videos",),
    unit="video",
    checks=(
        checks.has_rows("clips"),
        checks.clips_in_order,
    ),
)
