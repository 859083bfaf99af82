"""Asking sensors and schedules the way Dagster does: through evaluate_tick, with the definitions that it loads."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from egoworld_assets.automation.pace import UNFINISHED
from egoworld_assets.dataset import usable_episodes
from egoworld_assets.definitions import build
from egoworld_assets.orchestration.batches import PARTITION, partitions_of
from egoworld_resources.dataset import considered
from egoworld_resources.making.workbench import Workbench
from tests.made_dagster import dagster_in


@contextmanager
def instance_of(bench: Workbench) -> Iterator[dg.DagsterInstance]:
    """A Dagster instance below the home of a workbench."""
    retries = {"run_retries": {"enabled": True, "max_retries": 5}}
    with dagster_in(bench.layout.dagster, retries) as instance:
        yield instance


def partitions_in(instance: dg.DagsterInstance, requests: Iterable[dg.RunRequest]) -> list[str]:
    """The partitions that some requests are for, those of a batch in Dagster's order."""
    order = instance.get_dynamic_partitions("videos")
    named = (
        {**request.tags, **({PARTITION: request.partition_key} if request.partition_key else {})}
        for request in requests
    )
    return [partition for tags in named for partition in partitions_of(tags, order)]


def take_in(instance: dg.DagsterInstance, told: dg.SensorResult) -> list[str]:
    """Let Dagster know the new partitions of a tick; returns those that runs are asked for."""
    for request in told.dynamic_partitions_requests or ():
        instance.add_dynamic_partitions("videos", list(request.partition_keys))
    return partitions_in(instance, told.run_requests or ())


class Ticks:
    """The ticks of one sensor after the other, on one instance. Cursors are kept as the daemon keeps them."""

    def __init__(self, bench: Workbench, instance: dg.DagsterInstance) -> None:
        self.bench, self.instance = bench, instance
        self.cursors: dict[str, str | None] = {}
        self.definitions = build(bench)
        self.repository = self.definitions.get_repository_def()

    def look(self, name: str, *, dry: bool = False) -> Any:
        """What a sensor answers, nothing of it done; dry: as "Test sensor" asks it."""
        with dg.build_sensor_context(
            instance=self.instance,
            instance_ref=self.instance.get_ref(),
            cursor=self.cursors.get(name),
            repository_def=self.repository,
            resources={"bench": self.bench},
            last_sensor_start_time=None if dry else time.time(),
        ) as context:
            return self.repository.get_sensor_def(name).evaluate_tick(context)

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
        self,
        request: dg.RunRequest,
        status: dg.DagsterRunStatus = dg.DagsterRunStatus.NOT_STARTED,
        job: str = "flow",
    ) -> dg.DagsterRun:
        """The run of a request, as the daemon makes it; it is not executed."""
        definition = self.definitions.resolve_job_def(job)
        key = {"dagster/run_key": request.run_key} if request.run_key else {}
        return self.instance.create_run_for_job(definition, tags={**request.tags, **key}, status=status)

    def finish(self, over: Sequence[str] | None = None, *, fault: str = "") -> None:
        """End the merge that is under way as a merge does. Made-up episodes have no files, so none is really done.

        over: it began before there were any other videos than these; fault: why it failed before it had looked.
        """
        (run,) = self.instance.get_runs(dg.RunsFilter(job_name="merge_dataset", statuses=UNFINISHED))
        if fault:
            self.instance.report_run_failed(run, fault)
            return
        considering = [a for a in usable_episodes(self.bench) if over is None or a.video in over]
        considered.note(self.bench.layout.dataset, considering, written=False, declared="")
        done = dg.DagsterEvent(dg.DagsterEventType.RUN_SUCCESS.value, run.job_name)
        self.instance.report_dagster_event(done, run.run_id)

    def again_everything(self) -> None:
        """Let the time for the next look at everything come."""
        cursor = json.loads(self.cursors["dataset_follows"] or "{}")
        self.cursors["dataset_follows"] = json.dumps({**cursor, "looked": 0.0})

    def schedule(self, name: str, at: datetime | None = None) -> Any:
        """What a schedule answers."""
        with dg.build_schedule_context(
            instance=self.instance,
            scheduled_execution_time=at or datetime(2026, 1, 2, 3, 30, tzinfo=UTC),
            repository_def=self.repository,
            resources={"bench": self.bench},
        ) as context:
            return self.repository.get_schedule_def(name).evaluate_tick(context)


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
