"""videos: the file as it arrived, probed."""

import dagster as dg

from egoworld_assets.orchestration.stage_asset import Step, materialize, stage_asset
from egoworld_assets.quality import checks
from egoworld_resources.artifacts.stage import Stage
from egoworld_resources.making.workbench import Workbench

STAGE = Stage("videos", env="base", unit="video", checks=(checks.has_rows("videos"),))


@stage_asset(STAGE, kinds={"video"})
def videos(context: dg.AssetExecutionContext, bench: dg.ResourceParam[Workbench]) -> Step:
    """A video file: codec, size as displayed, frame times and the index that gives every frame exactly."""
    yield from materialize(context, bench, STAGE)
