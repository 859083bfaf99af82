"""Asking sensors and schedules the way Dagster does: through evaluate_tick, with the definitions that it loads."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from egoworld_assets.definitions import build
from egoworld_resources.workbench import Workbench


@contextmanager
def instance_of(bench: Workbench) -> Iterator[dg.DagsterInstance]:
    """A Dagster instance below the home of a workbench."""
    bench.layout.dagster.mkdir(parents=True, exist_ok=True)
    with dg.DagsterInstance.local_temp(str(bench.layout.dagster)) as instance:
        yield instance


class Ticks:
    """The ticks of one sensor after the other, on one instance. Cursors are kept as the daemon keeps them."""

    def __init__(self, bench: Workbench, instance: dg.DagsterInstance) -> None:
        self.bench, self.instance = bench, instance
        self.cursors: dict[str, str | None] = {}

    def look(self, name: str, *, dry: bool = False) -> Any:
        """What a sensor answers, nothing of it done; dry: as "Test sensor" asks it."""
        repository = build(self.bench).get_repository_def()
        with dg.build_sensor_context(
            instance=self.instance,
            instance_ref=self.instance.get_ref(),
            cursor=self.cursors.get(name),
            repository_def=repository,
            resources={"bench": self.bench},
            last_sensor_start_time=None if dry else time.time(),
        ) as context:
            return repository.get_sensor_def(name).evaluate_tick(context)

    def tick(self, name: str) -> list[dg.RunRequest]:
        """A tick that went well: partitions and cursor are kept; the runs that it asked for are there under its key."""
        told = self.look(name)
        for request in told.dynamic_partitions_requests or ():
            if isinstance(request, dg.AddDynamicPartitionsRequest):
                self.instance.add_dynamic_partitions(request.partitions_def_name, list(request.partition_keys))
            else:
                for partition in request.partition_keys:
                    self.instance.delete_dynamic_partition(request.partitions_def_name, partition)
        for request in told.run_requests or ():
            self.queue(request)
        self.cursors[name] = told.cursor
        return list(told.run_requests or ())

    def queue(
        self, request: dg.RunRequest, status: dg.DagsterRunStatus = dg.DagsterRunStatus.NOT_STARTED
    ) -> dg.DagsterRun:
        """The run of a request, as the daemon makes it; it is not executed."""
        job = build(self.bench).resolve_job_def("flow")
        key = {"dagster/run_key": request.run_key} if request.run_key else {}
        return self.instance.create_run_for_job(job, tags={**request.tags, **key}, status=status)

    def schedule(self, name: str, at: datetime | None = None) -> Any:
        """What a schedule answers."""
        repository = build(self.bench).get_repository_def()
        with dg.build_schedule_context(
            instance=self.instance,
            scheduled_execution_time=at or datetime(2026, 1, 2, 3, 30, tzinfo=UTC),
            repository_def=repository,
            resources={"bench": self.bench},
        ) as context:
            return repository.get_schedule_def(name).evaluate_tick(context)


def everything_in(bench: Workbench, instance: dg.DagsterInstance) -> dict[str, Any]:
    """All that a dry run might change: every file below the home but Dagster's, and what Dagster knows."""
    home = bench.layout.home
    files = {
        str(path.relative_to(home)): (path.stat().st_mtime_ns, path.stat().st_size)
        for path in sorted(home.rglob("*"))
        if path.is_file() and bench.layout.dagster not in path.parents
    }
    return {
        "files": files,
        "runs": {run.run_id: (run.status.value, dict(run.tags)) for run in instance.get_runs()},
        "partitions": instance.get_dynamic_partitions("videos"),
        "events": instance.event_log_storage.get_maximum_record_id(),
        "states": [str(state) for state in instance.all_instigator_state()],
    }
