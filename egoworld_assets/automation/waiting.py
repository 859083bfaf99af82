"""Asking again for what waits for this machine: first one video as a trial, and the rest once it got through."""

from __future__ import annotations

import math
import os
import shutil
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import dagster as dg

from egoworld_assets.automation import pace
from egoworld_assets.automation.jobs import GROUP
from egoworld_assets.automation.night import wanted_in
from egoworld_assets.orchestration.batches import batches_of_stages, in_order, partitions_of, run_request
from egoworld_assets.orchestration.materializations import LOG, console
from egoworld_assets.orchestration.partitions import VIDEOS, unknown
from egoworld_assets.orchestration.registry import stages
from egoworld_assets.orchestration.shards import by_partition, videos_of
from egoworld_assets.orchestration.walk import AGAIN, UNRECORDED
from egoworld_resources.environments.building.uv import Uv
from egoworld_resources.errors import EgoworldError
from egoworld_resources.faults.waits import Waiting, in_words
from egoworld_resources.gpu import gpus
from egoworld_resources.making.workbench import Workbench
from egoworld_resources.opening import in_s3
from egoworld_resources.settings import Settings
from egoworld_runner.space import RESERVE

AT_ONCE = 100
"""Partitions of one cause for which a run is asked for and has not ended yet."""
PATIENCE_S = 2.0
NAME = "waiting"
SINCE = "egoworld/since"
"""Tag beside AGAIN: when the cause was met first. What was asked for when it was there before does not count."""


def waiting_sensor(settings: Settings) -> dg.SensorDefinition:
    """The sensor; it looks as often as the first try after a fault asks for, and at least as often as the others."""
    return pace.sensor(waiting, min(settings.sensors_every_s, max(1, math.ceil(settings.retry_first_s))), target=GROUP)


def waiting(context: dg.SensorEvaluationContext, bench: dg.ResourceParam[Workbench]) -> dg.SensorResult:
    """Asks for runs of what waits because of a fault that is no video's, once the fault may be gone.

    It writes nothing: what is due stands in the ledger, what was asked for in Dagster's runs. So a tick can be
    repeated, lost or tried out, and doubles nothing.
    """
    found = bench.waits.waiting()
    asked = [*unrecorded(bench, context.instance)]
    for one in found:
        asked += again(bench, context.instance, one)
    said = "; ".join(in_words(one) for one in found)
    if said:
        LOG.info(said)
    lacking = unknown(context.instance, list(dict.fromkeys(one for batch, _ in asked for one in batch)))
    return dg.SensorResult(
        run_requests=[request for _, request in asked],
        dynamic_partitions_requests=[VIDEOS.build_add_request(lacking)] if lacking else [],
        skip_reason=None if asked else said or "nothing waits for this machine",
    )


@dataclass(frozen=True)
class Tried:
    """The runs that were asked for of a partition for a cause: how many have ended, and whether one has not."""

    ended: int = 0
    unfinished: bool = False
    last: float = 0.0


Asked = Iterator[tuple[list[str], dg.RunRequest]]
"""Batches of partitions, and the run that is asked for of each."""


def again(bench: Workbench, instance: dg.DagsterInstance, waiting: Waiting) -> Asked:
    """Runs for what waits for a cause: of one partition while it may still be there, else in batches, of as many as may
    be under way at once.
    """
    key, now = waiting.cause.key, time.time()
    if not waiting.gone and (waiting.next > now or not may_be_gone(bench, waiting)):
        return
    at_once = AT_ONCE if waiting.gone else 1
    items = bench.waits.items(key, -1 if waiting.gone else 1)
    partitions = by_partition(dict.fromkeys(item.video for item in items), bench.settings.shards)
    looking, late, under_way = bench.snapshot(ahead=False), pace.deadline(), 0
    order = in_order(instance, list(partitions))
    known = tried(instance, waiting, order)
    wanted: dict[str, Sequence[str]] = {}
    for partition, videos in partitions.items():
        if under_way >= at_once or late():
            break
        before = known.get(partition, Tried())
        under_way += before.unfinished
        if before.unfinished or (before.ended and before.last + bench.waits.delay(before.ended) > now):
            continue
        names, _ = wanted_in(looking, videos)
        if names:
            under_way += 1
            wanted[partition] = names
    when = f"{waiting.since:.3f}:{'gone' if waiting.gone else waiting.tries}"
    tags = {AGAIN: key, SINCE: f"{waiting.since:.3f}"}
    for names, batch in batches_of_stages(order, wanted, bench.settings.batch):
        number = known.get(batch[0], Tried()).ended
        yield batch, run_request(batch, f"{NAME}:{key}:{when}:{batch[0]}:{number}", console(bench), names, tags)


def tried(instance: dg.DagsterInstance, waiting: Waiting, order: Sequence[str]) -> Mapping[str, Tried]:
    """What became, by partition, of the runs that were asked for because of a cause since it was met first."""
    found: dict[str, Tried] = {}
    tags = {AGAIN: waiting.cause.key, SINCE: f"{waiting.since:.3f}"}
    for record in instance.get_run_records(dg.RunsFilter(tags=tags)):
        run = record.dagster_run
        ended = run.status not in pace.UNFINISHED
        for partition in partitions_of(run.tags, order):
            before = found.get(partition, Tried())
            found[partition] = Tried(
                before.ended + ended,
                before.unfinished or not ended,
                max(before.last, record.end_time or record.create_timestamp.timestamp()),
            )
    return found


def unrecorded(bench: Workbench, instance: dg.DagsterInstance) -> Asked:
    """Runs in place of those that ended waiting while the ledger could not be written."""
    runs = instance.get_runs(dg.RunsFilter(tags={UNRECORDED: "yes"}, statuses=[dg.DagsterRunStatus.FAILURE]), limit=500)
    if not runs:
        return
    order = in_order(instance, [])
    run_of = {partition: run.run_id for run in reversed(runs) for partition in partitions_of(run.tags, order)}
    looking = bench.snapshot(ahead=False)
    videos = videos_of(run_of, lambda: bench.store.keys("videos"))
    for run_id in dict.fromkeys(run_of.values()):
        mine = [partition for partition, of in run_of.items() if of == run_id]
        wanted = {partition: names for partition in mine if (names := wanted_in(looking, videos[partition])[0])}
        for names, batch in batches_of_stages(order, wanted, bench.settings.batch):
            yield batch, run_request(batch, f"{NAME}:{run_id}:{batch[0]}", console(bench), names, {})


def may_be_gone(bench: Workbench, waiting: Waiting) -> bool:
    """Whether a trial may get through, as far as a cheap look can tell."""
    kind, _, what = waiting.cause.key.partition("/")
    try:
        match kind:
            case "gpu":
                needs = (bench.snapshot().recipe(stages()[stage]).device for stage in waiting.stages)
                return bool(gpus()) or "cuda" not in needs
            case "disk":
                return has_space(Path(what) if what.startswith("/") else bench.layout.home)
            case "store":
                return answers(bench)
            case "uv":
                return os.access(Uv(bench.settings.uv, bench.settings.uv_cache_folder).program, os.X_OK)
            case "env":
                bench.snapshot().catalog.lock(what)
                return True
            case _:
                return True
    except (EgoworldError, OSError):
        return False


def has_space(folder: Path) -> bool:
    """Whether files can be made in a folder, or in what it will be made in."""
    while not folder.is_dir():
        folder = folder.parent
    found = os.statvfs(folder)
    return shutil.disk_usage(folder).free > RESERVE and (not found.f_files or found.f_favail > 0)


def answers(bench: Workbench) -> bool:
    """Whether the server of the store accepts connections, and the store answers."""
    if in_s3(bench.settings):
        where = urlsplit(os.environ.get("S3_ENDPOINT", ""))
        port = where.port or (443 if where.scheme == "https" else 80)
        socket.create_connection((where.hostname or "", port), PATIENCE_S).close()
    return bench.store.recorded("upkeep", NAME) is None
