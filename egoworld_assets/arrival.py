"""videos: the file as it arrived, probed; and the sensor that watches the inbox."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import dagster as dg

from egoworld_assets import checks
from egoworld_assets.partitions import VIDEOS, Step, materialize, stage_asset
from egoworld_resources.arrivals import Arrival, Arrivals, Refused, resting
from egoworld_resources.settings import Settings
from egoworld_resources.stage import Stage
from egoworld_resources.workbench import Workbench

STAGE = Stage("videos", env="base", unit="video", checks=(checks.has_rows("videos"),))

TAKEN_PER_TICK = 200


@stage_asset(STAGE, deps=[], kinds={"video"})
def videos(context: dg.AssetExecutionContext, bench: dg.ResourceParam[Workbench]) -> Step:
    """A video file: codec, size as displayed, frame times and the index that gives every frame exactly."""
    yield from materialize(context, bench, STAGE)


@dg.sensor(
    target=dg.AssetSelection.groups("video_to_dataset"),
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def inbox(context: dg.SensorEvaluationContext, bench: dg.ResourceParam[Workbench]) -> dg.SensorResult:
    """Takes files that rest in the inbox, oldest first, and runs the whole flow for each new or replaced video.

    The cursor only saves work: the store knows what was taken and Dagster's run keys what was asked for, so a crash
    in any tick loses and doubles nothing.
    """
    cursor = int(context.cursor or 0)
    arrivals = Arrivals(bench.store)
    taken: list[Arrival] = []
    refused: list[str] = []
    for path in islice(changed_since(cursor, bench.settings), TAKEN_PER_TICK):
        try:
            arrival = arrivals.take(path, path.relative_to(bench.settings.inbox_folder).as_posix())
        except Refused as error:
            refused.append(str(error))
            continue
        cursor = max(cursor, path.lstat().st_ctime_ns)
        if arrival.state != "duplicate":
            taken.append(arrival)
    known = set(context.instance.get_dynamic_partitions(str(VIDEOS.name)))
    return dg.SensorResult(
        run_requests=[run_request(bench, arrival.video) for arrival in taken],
        dynamic_partitions_requests=[VIDEOS.build_add_request([a.video for a in taken if a.video not in known])],
        cursor=str(cursor),
        skip_reason="; ".join(refused) if refused and not taken else None,
    )


def changed_since(cursor: int, settings: Settings) -> Iterator[Path]:
    """Resting inbox files whose change time (ns) is at or after the cursor, oldest first.

    The last file of a tick comes again in the next one: cheap, since a file that was taken is known without reading it.
    """
    for path in resting(settings.inbox_folder, settings.settle_s):
        if path.lstat().st_ctime_ns >= cursor:
            yield path


def run_request(bench: Workbench, video: str) -> dg.RunRequest:
    """One run of the whole flow for these bytes of this video; Dagster starts it once per run key."""
    facts = bench.store.recorded("videos", video) or {}
    return dg.RunRequest(run_key=f"{video}:{facts['sha256']}", partition_key=video)
