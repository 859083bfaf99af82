"""An hour of full disk in the real daemon, with a clock that is shortened by configuration."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import dagster as dg
import pytest

from egoworld_assets.automation.waiting import NAME
from egoworld_assets.orchestration.registry import stages
from egoworld_assets.orchestration.walk import AGAIN, WAITS
from tests.daemons import bench_of, daemon_of
from tests.made_faults import filled, own_file_system
from tests.made_graph import Installation
from tests.made_up import video

CLOCK = {"sensors_every_s": 1, "settle_s": 0.0, "retry_delay_s": 0.1, "retry_first_s": 1.0, "retry_longest_s": 4.0}
VIDEOS = 3


def waiting(installed: Installation) -> int:
    """How many videos wait for this machine, by `egoworld status`."""
    return sum(one["videos"] for one in json.loads(installed.ask("status", "--json"))["waiting"])


def trials(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    return [run for run in instance.get_runs() if AGAIN in run.tags]


def of_waiting(instance: dg.DagsterInstance) -> set[dg.DagsterRunStatus]:
    """Statuses of the runs in which something came to wait."""
    return {run.status for run in instance.get_runs() if WAITS in run.tags}


@pytest.mark.timeout(1500)
def test_a_full_disk_costs_nothing_but_the_time_that_it_is_full(tmp_path: Path) -> None:
    """Videos arrive, the disk of the scratch folder is full; the daemon dies meanwhile; then there is room again."""
    installed = Installation(tmp_path, dataset_quiet_s=600.0, refresh_for_h=0.0001, **CLOCK)
    bench = bench_of(installed)
    bench.settings.inbox_folder.mkdir(parents=True)
    with own_file_system(bench.layout.scratch, "size=32m"), daemon_of(installed) as (daemon, instance):
        with filled(bench.layout.scratch):
            for number in range(VIDEOS):
                video(bench.settings.inbox_folder / f"{number}.mp4", shots=(5 + number,), size=(32, 32))
            daemon.wait(instance, lambda: waiting(installed) == VIDEOS)
            daemon.wait(instance, lambda: daemon.log.read_text().count("Sensor waiting skipped: no space left") >= 3)
            assert trials(instance) == [], "a look at the disk is enough"
            daemon.wait(instance, lambda: of_waiting(instance) == {dg.DagsterRunStatus.FAILURE})
            daemon.end()
            daemon.start()
        keys = bench.store.keys("videos")
        assert len(keys) == VIDEOS

        def fresh() -> bool:
            looking = bench_of(installed)
            return all(looking.state(stage, key).condition == "fresh" for stage in stages().values() for key in keys)

        daemon.wait(instance, fresh)
        daemon.wait(instance, lambda: waiting(installed) == 0)
        store = bench_of(installed).store
        assert [key for kind in ("failures", "quarantine", "refusals") for key in store.keys(kind)] == []
        tries = Counter(run.tags["dagster/run_key"] for run in trials(instance) if "dagster/run_key" in run.tags)
        assert all(key.startswith(NAME) for key in tries)
        assert max(tries.values()) == 1, "nothing was asked for twice"
