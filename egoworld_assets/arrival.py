"""videos: the file as it arrived, probed; and the sensor that watches the inbox."""

import dagster as dg

from egoworld_assets import checks
from egoworld_assets.partitions import VIDEOS, Step, materialize, stage_asset
from egoworld_resources.arrivals import Arrival, Arrivals, Refused, resting
from egoworld_resources.resource import EgoworldResource
from egoworld_resources.stage import Stage

STAGE = Stage("videos", env="base", unit="video", checks=(checks.has_rows("videos"),))

TAKEN_PER_TICK = 200


@stage_asset(STAGE, deps=[], kinds={"video"})
def videos(context: dg.AssetExecutionContext, egoworld: EgoworldResource) -> Step:
    """A video file: codec, size as displayed, frame times and the index that gives every frame exactly."""
    yield from materialize(context, egoworld, STAGE)


@dg.sensor(target=dg.AssetSelection.groups("video_to_dataset"), minimum_interval_seconds=30)
def inbox(context: dg.SensorEvaluationContext, egoworld: EgoworldResource) -> dg.SensorResult:
    """Takes files that rest in the inbox, oldest first, and runs the whole flow for each new or replaced video.

    The cursor only saves work: what was taken is recorded in the store, so a crash in any tick loses and doubles nothing.
    """
    bench = egoworld.workbench()
    cursor = int(context.cursor or 0)
    arrivals = Arrivals(bench.store)
    fresh: list[Arrival] = []
    refused: list[str] = []
    taken = [
        p for p in resting(bench.settings.inbox_folder, bench.settings.settle_s) if p.lstat().st_mtime_ns >= cursor
    ]
    for path in taken[:TAKEN_PER_TICK]:
        name = path.relative_to(bench.settings.inbox_folder).as_posix()
        try:
            arrival = arrivals.take(path, name)
        except Refused as error:
            refused.append(str(error))
            continue
        cursor = max(cursor, path.lstat().st_mtime_ns)
        if arrival.state in ("new", "replaced"):
            fresh.append(arrival)
    known = set(context.instance.get_dynamic_partitions(VIDEOS.name or "videos"))
    return dg.SensorResult(
        run_requests=[run_request(bench.store.recorded("videos", a.video) or {}, a.video) for a in fresh],
        dynamic_partitions_requests=[VIDEOS.build_add_request([a.video for a in fresh if a.video not in known])],
        cursor=str(cursor),
        skip_reason="; ".join(refused) if refused and not fresh else None,
    )


def run_request(facts: dict[str, str], video: str) -> dg.RunRequest:
    """One run of the whole flow for these bytes of this video; the same bytes never ask twice."""
    return dg.RunRequest(run_key=f"{video}:{facts['sha256']}", partition_key=video)
