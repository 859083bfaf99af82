"""The sensor that watches the inbox."""

from collections.abc import Collection, Mapping, Sequence

import dagster as dg

from egoworld_assets.automation import pace
from egoworld_assets.orchestration.batches import batches, in_order, run_request
from egoworld_assets.orchestration.materializations import LOG, console
from egoworld_assets.orchestration.partitions import VIDEOS, unknown
from egoworld_assets.orchestration.registry import stages
from egoworld_assets.orchestration.shards import by_partition
from egoworld_resources.artifacts.manifest import digest
from egoworld_resources.faults.causes import Work, cause_of
from egoworld_resources.faults.waits import NO_VIDEO
from egoworld_resources.inbox.arrivals import Arrivals
from egoworld_resources.making.workbench import Workbench
from egoworld_runner.annotations import KINDS

INBOX = "inbox"
"""The name of the sensor, and of what waits when it cannot take anything."""
TAKEN_PER_TICK = 200


NAMED = 20
"""Refused files that a tick names."""


def look_into_inbox(
    context: dg.SensorEvaluationContext, bench: dg.ResourceParam[Workbench]
) -> dg.SensorResult | dg.SkipReason:
    """Takes what arrived in the inbox, a folder or a bucket, and runs the whole flow where there are new bytes.

    The cursor only saves work: the store knows what was taken and Dagster what was asked for, so a crash in any tick
    loses and doubles nothing. A file that is refused keeps no other waiting. A dry run takes nothing. A
    fault of the machine fails the tick, is said once beside those that videos wait for, and the next tick goes on.
    """
    if not pace.by_daemon(context):
        return dg.SkipReason(f"a dry run takes nothing out of {bench.inbox.where}; `egoworld status` says what waits")
    work = Work(INBOX, "")
    bench.waits.prepare()
    try:
        tick = bench.inbox.tick(Arrivals(bench.store), context.cursor, TAKEN_PER_TICK)
    except Exception as error:
        bench.waits.hit(cause_of(error, work), work, [NO_VIDEO])
        raise
    bench.waits.settle(INBOX, [NO_VIDEO], got_through=True)
    for reason in named(tick.refused):
        LOG.warning(f"refused: {reason}")
    arrived = by_partition(dict.fromkeys(arrival.video for arrival in tick.taken), bench.settings.shards)
    new = unknown(context.instance, list(arrived))
    said = {arrival.video for arrival in tick.taken if arrival.state == "annotated"}
    return dg.SensorResult(
        run_requests=requests_for(bench, context.instance, arrived, new, said),
        dynamic_partitions_requests=[VIDEOS.build_add_request(new)],
        cursor=tick.cursor,
        skip_reason="; ".join(named(tick.refused)) if tick.refused and not arrived else None,
    )


def named(refused: Sequence[str]) -> list[str]:
    """Why files are refused: some by name, the others counted."""
    more = len(refused) - NAMED
    return [*refused[:NAMED], *([f"and {more:,} more: egoworld status --refused"] if more > 0 else [])]


def inbox_every(seconds: int) -> dg.SensorDefinition:
    """The sensor of the inbox; it looks at a fixed interval in seconds."""
    return pace.sensor(look_into_inbox, seconds, name=INBOX, target=dg.AssetSelection.groups("video_to_dataset"))


inbox = inbox_every(30)


def requests_for(
    bench: Workbench,
    instance: dg.DagsterInstance,
    arrived: Mapping[str, Sequence[str]],
    new: Sequence[str],
    said: Collection[str] = (),
) -> list[dg.RunRequest]:
    """Runs of the whole flow for what arrived: a shard is one, videos go in batches.

    A look names again what it named before; what there was a run for is left out. new: partitions that Dagster
    does not have yet. said: videos about which a sidecar came; each has another run for what it says.
    """
    if bench.settings.shards:
        return [request_for(bench, [shard], videos, said) for shard, videos in arrived.items()]
    asked = had_a_run(instance, [partition for partition in arrived if partition not in new and partition not in said])
    left = [partition for partition in arrived if partition not in asked]
    found = batches(in_order(instance, new), left, bench.settings.batch) if left else ()
    return [request_for(bench, batch, batch, said) for batch in found]


def had_a_run(instance: dg.DagsterInstance, partitions: Sequence[str]) -> Collection[str]:
    """Those of some partitions for which Dagster was to make the first stage at some time."""
    first = dg.AssetKey(next(iter(stages())))
    planned = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
    return instance.get_latest_storage_id_by_partition(first, planned, set(partitions)) if partitions else ()


def request_for(
    bench: Workbench, batch: Sequence[str], videos: Sequence[str], said: Collection[str] = ()
) -> dg.RunRequest:
    """One run of the whole flow for these bytes of these videos and what holds about them, also where the sidecar was
    taken up at an earlier look; Dagster starts it once per run key.
    """
    given = [(bench.store.recorded("videos", video) or {})["sha256"] for video in videos]
    for video in videos:
        versions = versions_said(bench, video)
        given += versions if video in said or any(versions) else []
    of_given = given[0] if len(given) == 1 else digest(given)
    return run_request(batch, f"{batch[0]}:{of_given}", console(bench))


def versions_said(bench: Workbench, video: str) -> list[str]:
    """What holds of each kind that people may say about a video: its version, or that there is none."""
    found = [bench.store.current(kind, video) for kind in KINDS]
    return [made.data_version if made else "" for made in found]
