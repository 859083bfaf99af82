"""Keeping everything fresh: the flow job, and what is run for videos that are missing or stale."""

from collections.abc import Iterable, Iterator, Sequence

import dagster as dg

from egoworld_assets.plan import WANTS_WORK
from egoworld_assets.stages import stages
from egoworld_resources.errors import EgoworldError
from egoworld_resources.stage import Stage
from egoworld_resources.workbench import Workbench

GROUP = dg.AssetSelection.groups("video_to_dataset")
FLOW = dg.define_asset_job("flow", selection=GROUP, description="Everything that is made of one video.")
DATASET = dg.define_asset_job(
    "merge_dataset", selection=dg.AssetSelection.assets("dataset"), description="One dataset over all videos."
)


def outdated(bench: Workbench, stages: Iterable[Stage], video: str) -> list[str]:
    """Names of the stages of a video that are missing or stale, those behind them included; inputs first.

    A stage that failed or is quarantined under the current recipe and inputs is not asked for again.
    """
    wanted: list[str] = []
    for stage in stages:
        behind = any(asset in wanted for asset in (*stage.inputs, *stage.optional))
        try:
            wants = bench.state(stage, video).condition in WANTS_WORK
        except EgoworldError:
            wants = True
        if wants or behind:
            wanted.append(stage.name)
    return wanted


def contiguous(keys: Sequence[str], wanted: set[str]) -> Iterator[list[str]]:
    """Runs of neighbours among ``keys`` that are wanted: what one Dagster range can name."""
    group: list[str] = []
    for key in keys:
        if key in wanted:
            group.append(key)
        elif group:
            yield group
            group = []
    if group:
        yield group


@dg.schedule(
    cron_schedule="0 3 * * *",
    target=GROUP,
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def nightly_refresh(
    _context: dg.ScheduleEvaluationContext, bench: dg.ResourceParam[Workbench]
) -> Iterator[dg.RunRequest]:
    """Each night, at most ``refresh_limit`` videos that have something missing or stale, one run each."""

    taken = 0
    for video, _ in bench.store.records("videos"):
        names = outdated(bench, stages().values(), video)
        if names and taken < bench.settings.refresh_limit:
            taken += 1
            yield dg.RunRequest(partition_key=video, asset_selection=[dg.AssetKey(name) for name in names])
