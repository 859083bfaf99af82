"""Runs that were killed: their end is reported, and whatever lost its restart is started again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import dagster as dg

from egoworld_assets.automation.dead_runs import KILLED, dead_runs_of, end_dead_runs
from egoworld_assets.automation.pace import Cursor, by_daemon
from egoworld_assets.orchestration.batches import PARTITION, RANGE
from egoworld_assets.orchestration.database import failed_without_it
from egoworld_assets.orchestration.materializations import LOG, console
from egoworld_assets.orchestration.partitions import unknown
from egoworld_assets.orchestration.registry import stages
from egoworld_resources.making.workbench import Workbench

RESTART_OF = "egoworld/restart_of"
"""Tag of a run that was started in place of another: the id of that one."""
RESTARTS = "egoworld/restarts"
"""Tag of the same run: how often its work was started again by then, by Dagster and by us."""
CONSUMED = f"EVENT_LOG_CONSUMER_CURSOR-{dg.DagsterEventType.RUN_FAILURE.value}"
"""Under this name Dagster's daemon keeps up to which failure it has started runs again."""
GIVEN_UP = ("CANCELED", "CANCELING")
"""Statuses of a backfill that a person has ended."""
AT_ONCE = 200


def dead_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Ends runs whose process was killed, so that they do not hold up the others. A dry run only names them."""
    ended = end_dead_runs(context.instance) if by_daemon(context) else []
    dead = ended or [run.run_id for run in dead_runs_of(context.instance)]
    if not dead:
        return dg.SkipReason("every run in the works has its process")
    return dg.SkipReason(f"{'ended' if ended else 'would end'} {len(dead)}: {', '.join(dead)}")


@dataclass(frozen=True)
class Failures(Cursor):
    """How far the failures of runs are looked through: the sensor's cursor. after: up to this event.

    since: older ones count only where ``dead_runs`` ended the run, so that a first look starts no old run again.
    """

    after: int = 0
    since: int = -1


def lost_restarts(
    context: dg.SensorEvaluationContext, bench: dg.ResourceParam[Workbench]
) -> dg.SensorResult | dg.SkipReason:
    """Starts runs again that ended by no fault of a step and that Dagster's own retry has passed by.

    Dagster forgets a run whose retry it could not start (the code server was away), never starts the run of a command
    again, and holds it against a step when Postgres did not answer. Each failure is looked at once, after Dagster has
    dealt with it; the run key ties the new run to the old one, so that there is one, and ``run_retries.max_retries``
    bounds both kinds of restarts together.
    """
    instance = context.instance
    consumed = consumed_by_dagster(instance)
    if consumed is None:
        return dg.SkipReason("Dagster's daemon has not looked for failed runs yet")
    seen = Failures.read(context.cursor)
    seen = replace(seen, since=consumed) if seen.since < 0 else seen
    requests: list[dg.RunRequest] = []
    for number, run in failures(instance, seen.after, consumed):
        seen = replace(seen, after=number)
        if run is None:
            continue
        why = why_not(instance, run, new=number > seen.since)
        if why:
            LOG.info(f"run {run.run_id} is not started again: {why}")
            continue
        LOG.warning(f"run {run.run_id} had lost its restart and is started again")
        requests.append(restart(bench, run, instance.run_retries_max_retries))
    skipped = None if requests else "no run has lost its restart"
    return dg.SensorResult(run_requests=requests, cursor=seen.write(), skip_reason=skipped)


def consumed_by_dagster(instance: dg.DagsterInstance) -> int | None:
    """The failure up to which Dagster's daemon has started runs again; None: it has not begun."""
    if not instance.run_retries_enabled:
        newest = instance.fetch_run_status_changes(dg.DagsterEventType.RUN_FAILURE, limit=1).records
        return newest[0].storage_id if newest else 0
    known = instance.daemon_cursor_storage.get_cursor_values({CONSUMED}).get(CONSUMED)
    return None if known is None else int(known)


def failures(instance: dg.DagsterInstance, after: int, upto: int) -> Iterator[tuple[int, dg.DagsterRun | None]]:
    """Failures behind one, up to another, in order: the number of the event, and the run if it is still there."""
    wanted = dg.RunStatusChangeRecordsFilter(dg.DagsterEventType.RUN_FAILURE, after_storage_id=after)
    for record in instance.fetch_run_status_changes(wanted, limit=AT_ONCE, ascending=True).records:
        if record.storage_id > upto:
            return
        yield record.storage_id, instance.get_run_by_id(record.run_id)


def why_not(instance: dg.DagsterInstance, run: dg.DagsterRun, *, new: bool) -> str:
    """Why a run that failed is not started again here; empty when it has lost its restart."""
    killed = run.tags.get(KILLED) == run.run_id
    backfill = run.tags.get("dagster/backfill")
    if run.status != dg.DagsterRunStatus.FAILURE:
        return "it has not failed"
    if run.tags.get("dagster/failure_reason") == "STEP_FAILURE" and not failed_without_it(instance, run):
        return "a step of it failed"
    if not killed and (run.remote_job_origin is None or not new):
        return "a person ended the command, or it failed before this sensor was there"
    if "dagster/auto_retry_run_id" in run.tags or instance.get_runs_count(
        dg.RunsFilter(tags={"dagster/parent_run_id": run.run_id})
    ):
        return "Dagster or a person has started it again"
    if started_again(run) >= instance.run_retries_max_retries:
        return f"it was started again {started_again(run)} times"
    if backfill and is_given_up(instance, backfill):
        return "its backfill was ended by a person"
    if not stages_of(run):
        return "what it makes is asked for again by a sensor or schedule of its own"
    partitions = partitions_of(run)
    if not partitions or unknown(instance, partitions):
        return "its videos are not there any more"
    return ""


def is_given_up(instance: dg.DagsterInstance, backfill: str) -> bool:
    """Whether a backfill was ended by a person, or removed."""
    found = instance.get_backfill(backfill)
    return found is None or found.status.value in GIVEN_UP


def started_again(run: dg.DagsterRun) -> int:
    """How often the work of a run was started again before it failed."""
    return int(run.tags.get(RESTARTS, 0)) + int(run.tags.get("dagster/retry_number", 0))


def stages_of(run: dg.DagsterRun) -> list[str]:
    """The stages that a run makes, inputs first; a run without a selection that is for videos makes all."""
    if run.asset_selection is None:
        return list(stages()) if partitions_of(run) else []
    names = {key.to_user_string() for key in run.asset_selection}
    return [name for name in stages() if name in names]


def partitions_of(run: dg.DagsterRun) -> list[str]:
    """The partition of a run, or the first and the last of its range; empty when it is for none."""
    single = run.tags.get(PARTITION)
    return [single] if single else [run.tags[tag] for tag in RANGE if tag in run.tags]


def restart(bench: Workbench, run: dg.DagsterRun, most: int) -> dg.RunRequest:
    """The request for a run in place of another."""
    restarts = started_again(run) + 1
    tags = {RESTART_OF: run.run_id, RESTARTS: str(restarts), "dagster/max_retries": str(most - restarts)}
    return dg.RunRequest(
        run_key=f"restart:{run.run_id}",
        partition_key=run.tags.get(PARTITION),
        asset_selection=[dg.AssetKey(name) for name in stages_of(run)],
        run_config=console(bench),
        tags={**tags, **{tag: run.tags[tag] for tag in RANGE if tag in run.tags}},
    )
