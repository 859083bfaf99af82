"""Schedules of what looks through everything: the table of what stopped, and the retention of Dagster's event log."""

from __future__ import annotations

import dagster as dg

from egoworld_assets.automation.event_log_retention import event_log_retention
from egoworld_assets.automation.pace import UNFINISHED
from egoworld_assets.orchestration.materializations import console
from egoworld_resources.making.workbench import Workbench

QUARANTINE = dg.define_asset_job(
    "quarantine_table", selection=dg.AssetSelection.assets("quarantine"), description="The table of what stopped."
)


@dg.schedule(
    cron_schedule="30 * * * *",
    job=QUARANTINE,
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def hourly_quarantine(
    context: dg.ScheduleEvaluationContext, bench: dg.ResourceParam[Workbench]
) -> dg.RunRequest | dg.SkipReason:
    """Each hour the table of what stopped. Failures come from sensors, backfills, schedules and commands alike: looking
    through the store once an hour finds all of them, and costs the same however many runs there were.
    """
    return still_running(context.instance, QUARANTINE.name) or dg.RunRequest(run_config=console(bench))


@dg.schedule(
    cron_schedule="45 4 * * *",
    job=event_log_retention,
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def nightly_retention(
    context: dg.ScheduleEvaluationContext, bench: dg.ResourceParam[Workbench]
) -> dg.RunRequest | dg.SkipReason:
    """Each night what nobody asks for any more goes out of Dagster's event log (setting event_log_days)."""
    return still_running(context.instance, event_log_retention.name) or dg.RunRequest(run_config=console(bench))


def still_running(instance: dg.DagsterInstance, job: str) -> dg.SkipReason | None:
    """Why a job is not started now: its last run has not ended. None when it is free."""
    runs = instance.get_runs(dg.RunsFilter(job_name=job, statuses=UNFINISHED), limit=1)
    return dg.SkipReason(f"its last run has not ended: {runs[0].run_id}") if runs else None
