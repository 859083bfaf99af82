"""Which stages of a video are missing or stale."""

from collections.abc import Iterable

from egoworld_assets.planning.plan import WANTS_WORK
from egoworld_resources.artifacts.stage import Stage
from egoworld_resources.errors import EgoworldError, Transient
from egoworld_resources.making.workbench import Workbench


def outdated(bench: Workbench, stages: Iterable[Stage], video: str) -> list[str]:
    """Names of the stages of a video that are missing or stale, those behind them included; inputs first.

    A stage that failed or is quarantined under the current recipe and inputs is not planned again. Raises Transient
    when the store does not answer, and DamagedArtifact when the video's own record cannot be read: then nothing is
    known of the video.
    """
    bench.store.recorded("videos", video)
    wanted: list[str] = []
    for stage in stages:
        behind = any(asset in wanted for asset in (*stage.inputs, *stage.optional))
        try:
            wants = bench.state(stage, video).condition in WANTS_WORK
        except Transient:
            raise
        except EgoworldError:
            wants = True
        if wants or behind:
            wanted.append(stage.name)
    return wanted
