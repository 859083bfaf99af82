"""Runs whose process was killed: found, and ended."""

import dagster as dg

from egoworld_resources.leases.processes import Identity, start_ticks
from egoworld_resources.making.workbench import Workbench

PROCESS = "egoworld/process"
"""Tag of a run that has begun: its id, and the process that executes it (processes.Identity)."""


KILLED = "egoworld/killed"
"""Tag of a run that was ended because its process had been killed: its id, since Dagster copies tags on a retry."""


IN_THE_WORKS = (dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING)


def process_tag(run_id: str) -> dict[str, str]:
    """The tag that says which process executes a run: this one."""
    return {PROCESS: f"{run_id} {Identity.mine()}"}


def noting_processes(bench: Workbench) -> dg.ResourceDefinition:
    """The workbench as a resource; a run that begins with it is tagged with the process that executes it."""

    def begin(context: dg.InitResourceContext) -> Workbench:
        run, instance = context.run, context.instance
        if run and instance and process_of(run) is None:
            instance.add_run_tags(run.run_id, process_tag(run.run_id))
        return bench

    return dg.ResourceDefinition(begin)


def process_of(run: dg.DagsterRun) -> Identity | None:
    """The process that executes a run, by its tag; a run that was started again carries the tag of the one before."""
    run_id, _, process = run.tags.get(PROCESS, "").partition(" ")
    return Identity.parse(process) if run_id == run.run_id else None


def dead_runs_of(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    """Runs that for Dagster are in the works although their process has ended."""
    return [run for run in instance.get_runs(dg.RunsFilter(statuses=list(IN_THE_WORKS))) if is_dead(instance, run)]


def end_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """End the runs whose process was killed; returns their ids.

    For Dagster they still run, and hold their places in the queue and the pools: its launcher only notices a death
    while the code server that started the process lives. They are started again: dagster.yaml, automation/restart.py.
    """
    pools = instance.event_log_storage
    dead = dead_runs_of(instance)
    for run in dead:
        pools.free_concurrency_slots_for_run(run.run_id)
        if run.status == dg.DagsterRunStatus.CANCELING:
            instance.report_run_canceled(run, "it was to be terminated, and its process has ended")
            continue
        instance.add_run_tags(run.run_id, {KILLED: run.run_id})
        instance.report_run_failed(run, "its process was killed; what it had made is kept")
    holding = list(pools.get_concurrency_run_ids())
    for run in instance.get_runs(dg.RunsFilter(run_ids=holding)) if holding else ():
        if run.is_finished:
            pools.free_concurrency_slots_for_run(run.run_id)
    return [run.run_id for run in dead]


def is_dead(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether the process of a run has ended: by the run's tag or, before it has one, by the number that Dagster noted.

    A number alone can only say that no process has it any more. The tag follows within moments.
    """
    process = process_of(run)
    if process:
        return process.ended
    for record in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
        noted = record.dagster_event.event_specific_data if record.dagster_event else None
        pid = getattr(noted, "metadata", {}).get("pid")
        if pid is not None and start_ticks(int(pid.value)) is None:
            return True
    return False
