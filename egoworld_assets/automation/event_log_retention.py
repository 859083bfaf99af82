"""Retention of Dagster's event log: what nobody asks for any more goes, what the state of assets rests on stays.

Dagster keeps every event of every run for ever. Two things are done with a run that ended long ago:

- It loses its log lines and the events of its steps. Materializations, observations, checks (planned ones too: failed
  partitions are known by them), what became of the run, and why steps failed stay, and so does the run itself: Dagster
  knows by its run key that the inbox sensor need not ask for that video again.
- It is deleted when nothing rests on it: it succeeded, was neither for a video nor asked for by key, logged nothing of
  an asset but a plan, and a later run planned the same. So go the hourly and nightly runs that found nothing new.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import sqlalchemy as sa

from egoworld_assets.orchestration.batches import PARTITION, RANGE
from egoworld_resources.making.workbench import Workbench

Kind = dg.DagsterEventType
GONE = (
    *(Kind.ENGINE_EVENT, Kind.LOGS_CAPTURED),
    *(Kind.STEP_INPUT, Kind.STEP_START, Kind.STEP_OUTPUT, Kind.STEP_SUCCESS, Kind.STEP_SKIPPED),
    *(Kind.STEP_WORKER_STARTING, Kind.STEP_WORKER_STARTED, Kind.STEP_UP_FOR_RETRY, Kind.STEP_RESTARTED),
    *(Kind.RESOURCE_INIT_STARTED, Kind.RESOURCE_INIT_SUCCESS, Kind.RESOURCE_INIT_FAILURE),
    *(Kind.LOADED_INPUT, Kind.HANDLED_OUTPUT, Kind.OBJECT_STORE_OPERATION),
    *(Kind.HOOK_COMPLETED, Kind.HOOK_ERRORED, Kind.HOOK_SKIPPED),
)
"""What old runs lose, beside plain log lines. A type that a later Dagster brings is not among them, so it stays."""

ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
ASKED_FOR = (
    "dagster/run_key",
    "dagster/backfill",
    PARTITION,
    RANGE[0],
    "dagster/root_run_id",
)
"""Tags of runs that are never deleted: others refer to them, or they were for videos."""

MARK = "egoworld/event_log_pruned_until"
BATCH = 200
SECONDS = 1800.0
"""No batch is begun later in a run; the next night goes on."""

COLUMNS = ("id", "run_id", "event", "dagster_event_type", "asset_key", "partition")
events = sa.table("event_logs", *(sa.column(name) for name in COLUMNS))
NOISE = sa.or_(events.c.dagster_event_type.is_(None), events.c.dagster_event_type.in_([kind.value for kind in GONE]))


@dataclass
class Pruned:
    """What went, or would go. bytes: of the events as text; whole: nothing old was left for another time."""

    looked_at: int = 0
    thinned: int = 0
    deleted: int = 0
    events: int = 0
    bytes: int = 0
    whole: bool = True


def prune(
    instance: dg.DagsterInstance,
    days: int,
    apply: bool,
    seconds: float = SECONDS,
    clock: Callable[[], float] = time.monotonic,
    now: datetime | None = None,
) -> Pruned:
    """Prune the runs that ended more than ``days`` days ago, the oldest first, for at most ``seconds``; 0 days: none.

    A batch is remembered when all of it is done; whatever is killed in the middle is done again, and finds less to do.
    Without ``apply`` nothing is changed, and what earlier calls have seen to is not counted.
    """
    total, began = Pruned(), clock()
    if days == 0:
        return total
    cutoff = (now or datetime.now(UTC)) - timedelta(days=days)
    for batch in batches(instance, cutoff):
        if clock() - began >= seconds:
            total.whole = False
            break
        spare = without_use(instance, [record.dagster_run for record in batch])
        kept = [record.dagster_run.run_id for record in batch if record.dagster_run.run_id not in spare]
        total.looked_at += len(batch)
        total.deleted += len(spare)
        thin(instance, kept, apply, total)
        for run_id in spare:
            delete(instance, run_id, apply, total)
        if apply:
            remember(instance, batch[-1].update_timestamp)
    return total


def batches(instance: dg.DagsterInstance, cutoff: datetime) -> Iterator[Sequence[dg.RunRecord]]:
    """Runs that ended before a time and were not seen to yet, in the order in which they ended."""
    after = remembered(instance)
    while True:
        wanted = dg.RunsFilter(statuses=ENDED, updated_after=after, updated_before=cutoff)
        found = instance.get_run_records(wanted, limit=BATCH, order_by="update_timestamp", ascending=True)
        if len(found) == BATCH:  # those of the last moment may be more than are here: they come with the next batch
            found = [run for run in found if run.update_timestamp < found[-1].update_timestamp] or found
        if not found:
            return
        yield found
        after = found[-1].update_timestamp


def remembered(instance: dg.DagsterInstance) -> datetime | None:
    """The end of the last run that was seen to."""
    known = instance.daemon_cursor_storage.get_cursor_values({MARK}).get(MARK)
    return datetime.fromisoformat(known) if known else None


def remember(instance: dg.DagsterInstance, ended: datetime) -> None:
    """Let the next call begin behind a run that ended then."""
    instance.daemon_cursor_storage.set_cursor_values({MARK: ended.isoformat()})


def without_use(instance: dg.DagsterInstance, runs: Sequence[dg.DagsterRun]) -> list[str]:
    """Those runs that may go altogether: all that they say of assets are plans, and later runs planned the same."""
    unnamed = [run.run_id for run in runs if run.status == ENDED[0] and not any(tag in run.tags for tag in ASKED_FOR)]
    planned, columns = Kind.ASSET_MATERIALIZATION_PLANNED.value, (events.c.run_id, events.c.id, events.c.asset_key)
    of_assets = sa.not_(sa.or_(NOISE, events.c.dagster_event_type.like("PIPELINE_%")))
    mere_plan = sa.and_(events.c.dagster_event_type == planned, events.c.partition.is_(None))
    storage: Any = instance.event_log_storage
    with storage.index_connection() as connection:
        rows = sa.select(*columns, mere_plan).where(events.c.run_id.in_(unnamed), of_assets)
        found = connection.execute(rows).fetchall()
        last: dict[str, int] = {}
        for asset in {asset for _, _, asset, plan in found if plan}:
            newest = sa.select(sa.func.max(events.c.id)).where(events.c.asset_key == asset, mere_plan)
            last[asset] = connection.execute(newest).scalar()
    used = {run_id for run_id, number, asset, plan in found if not plan or number == last[asset]}
    spare = [run_id for run_id in unnamed if run_id not in used]
    return [run for run in spare if not instance.get_runs_count(dg.RunsFilter(tags={"dagster/root_run_id": run}))]


def thin(instance: dg.DagsterInstance, run_ids: Sequence[str], apply: bool, total: Pruned) -> None:
    """Take the noise out of some runs."""
    storage: Any = instance.event_log_storage
    counted = (events.c.run_id, sa.func.count(), sa.func.sum(sa.func.length(events.c.event)))
    for together in [[run_id] for run_id in run_ids] if storage.is_run_sharded else [run_ids]:
        noise = (events.c.run_id.in_(together), NOISE)
        with storage.run_connection(together[0] if together else None) as connection:
            for _, count, size in connection.execute(sa.select(*counted).where(*noise).group_by(events.c.run_id)):
                total.thinned += 1
                total.events += count
                total.bytes += size
            if apply:
                connection.execute(sa.delete(events).where(*noise))


def delete(instance: dg.DagsterInstance, run_id: str, apply: bool, total: Pruned) -> None:
    """Take a run away with all of its events; the run last, so that it is found again when this is interrupted."""
    storage: Any = instance.event_log_storage
    with storage.run_connection(run_id) as connection:
        counted = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(sa.func.length(events.c.event)), 0))
        count, size = connection.execute(counted.where(events.c.run_id == run_id)).one()
    total.events += count
    total.bytes += size
    if not apply:
        return
    storage.delete_events(run_id)
    instance.delete_run(run_id)
    if storage.is_run_sharded:
        shard = Path(storage.path_for_shard(run_id))
        for file in (shard, *(shard.with_name(shard.name + end) for end in ("-wal", "-shm", "-journal"))):
            file.unlink(missing_ok=True)


@dg.op
def prune_event_log(context: dg.OpExecutionContext, bench: dg.ResourceParam[Workbench]) -> None:
    """Prunes what `egoworld prune` tells of, for half an hour at most."""
    pruned = prune(context.instance, bench.settings.event_log_days, apply=True)
    context.log.info(f"runs that ended more than {bench.settings.event_log_days} days ago (event_log_days): {pruned}")


@dg.job(description="Takes out of Dagster's event log what nobody asks for any more.")
def event_log_retention() -> None:
    prune_event_log()
