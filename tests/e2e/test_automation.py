"""What runs by itself, in the real service: the dataset follows arrivals and backfills; killed runs are started again.

The clock is shortened by the configuration alone.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest

from egoworld_assets.automation.pace import UNFINISHED
from egoworld_assets.orchestration.batches import partitions_of
from egoworld_assets.orchestration.registry import stages
from egoworld_resources.leases.processes import Identity
from egoworld_resources.making.workbench import Workbench
from tests.daemons import Daemon, bench_of, daemon_of, in_dataset, live, merges
from tests.faults import SLOW, below
from tests.made_graph import Installation
from tests.made_up import video
from tests.servers import free_port
from tests.soak import STALE, Service, drop

SHORT = {"sensors_every_s": 1, "settle_s": 0.5, "retry_delay_s": 0.5}
SENSOR = """
mutation($of: SensorSelector!) { sensorDryRun(selectorData: $of, cursor: null) { __typename
  ... on DryRunInstigationTick { evaluationResult { error { message } skipReason runRequests { runKey } } } } }
"""
SCHEDULE = """
mutation($of: ScheduleSelector!, $at: Float) { scheduleDryRun(selectorData: $of, timestamp: $at) { __typename
  ... on DryRunInstigationTick { evaluationResult { error { message } skipReason runRequests { runKey } } } } }
"""


def last_tick(instance: dg.DagsterInstance, sensor: str) -> float:
    (state,) = [state for state in instance.all_instigator_state() if state.instigator_name == sensor]
    return float(getattr(state.instigator_data, "last_tick_timestamp", None) or 0.0)


def let_it_look(daemon: Daemon, instance: dg.DagsterInstance, sensor: str, times: int) -> None:
    """Wait for a number of further ticks of a sensor."""
    for _ in range(times):
        before = last_tick(instance, sensor)
        daemon.wait(instance, lambda before=before: last_tick(instance, sensor) > before)


@pytest.mark.timeout(1200)
def test_the_dataset_follows_by_itself(tmp_path: Path) -> None:
    installed = Installation(
        tmp_path / "made", **SHORT, dataset_quiet_s=2.0, dataset_wait_s=60.0, dataset_look_s=4.0, log_format="json"
    )
    bench = bench_of(installed)
    bench.settings.inbox_folder.mkdir(parents=True)
    with daemon_of(installed) as (daemon, instance):
        for number in range(2):
            drop(video(tmp_path / f"{number}.mp4", shots=(8 + number,)), bench.settings.inbox_folder)
        daemon.wait(instance, lambda: len(in_dataset(bench)) == 2 and in_dataset(bench) == live(bench))
        daemon.kill()
        drop(video(tmp_path / "2.mp4", shots=(11,)), bench.settings.inbox_folder)
        daemon.start()
        daemon.wait(instance, lambda: len(in_dataset(bench)) == 3 and in_dataset(bench) == live(bench))
        nothing_more(daemon, instance)

        (bench.layout.store / "records" / "videos" / f"{min(live(bench))}.json").unlink()
        daemon.wait(instance, lambda: len(in_dataset(bench)) == 2 and in_dataset(bench) == live(bench))
        nothing_more(daemon, instance)


def nothing_more(daemon: Daemon, instance: dg.DagsterInstance) -> None:
    """While nothing changes, no merge is asked for, however often the sensor looks."""
    daemon.wait(instance, lambda: not instance.get_runs_count(dg.RunsFilter(statuses=UNFINISHED)))
    let_it_look(daemon, instance, "dataset_follows", 2)
    before = len(merges(instance))
    let_it_look(daemon, instance, "dataset_follows", 3)
    assert len(merges(instance)) == before


@pytest.mark.timeout(1200)
def test_what_a_range_made_is_fresh_for_dagster_too_and_a_dry_run_asks_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = f"http://127.0.0.1:{free_port()}"
    installed = Installation(tmp_path / "made", **SHORT, dataset_quiet_s=1e6, files_url=files)
    monkeypatch.setenv("EGOWORLD_CONFIG", installed.config)
    installed.make("demo", *(str(video(tmp_path / f"{number}.mp4", shots=(8 + number,))) for number in range(2)))
    bench = bench_of(installed)
    keys = bench.store.keys("videos")
    service = Service(tmp_path, installed.config)
    service.keep_up()
    try:
        nodes = service.answered(STALE, partitions=keys)["assetNodes"]
        found = {node["assetKey"]["path"][0]: node["staleStatusByPartition"] for node in nodes}
        assert found == {name: ["FRESH", "FRESH"] for name in stages()}
        with dg.DagsterInstance.from_config(str(bench.layout.dagster)) as instance:
            for stage in stages():
                key = dg.AssetCheckKey(dg.AssetKey(stage), "valid")
                checked = instance.event_log_storage.get_latest_asset_check_execution_by_key([key])
                assert [record.status.value for record in checked.values()] == ["SUCCEEDED"], stage
            before = {run.run_id for run in instance.get_runs()}
            for answer in dry_runs(service, bench):
                assert answer["__typename"] == "DryRunInstigationTick", answer
                assert answer["evaluationResult"]["error"] is None, answer
            assert {run.run_id for run in instance.get_runs()} == before
    finally:
        service.stop()


def dry_runs(service: Service, bench: Workbench) -> list[dict[str, Any]]:
    """What "Test sensor" and "Test schedule" say of everything that there is."""
    from egoworld_assets.definitions import build

    place = {"repositoryName": "__repository__", "repositoryLocationName": "egoworld"}
    repository = build(bench).get_repository_def()
    sensors = [{**place, "sensorName": sensor.name} for sensor in repository.sensor_defs]
    schedules = [{**place, "scheduleName": schedule.name} for schedule in repository.schedule_defs]
    found = [service.asked(SENSOR, of=of)["sensorDryRun"] for of in sensors]
    return found + [service.asked(SCHEDULE, of=of, at=1.8e9)["scheduleDryRun"] for of in schedules]


@pytest.mark.timeout(1500)
def test_no_killed_run_loses_its_restart(tmp_path: Path) -> None:
    """Five real kill -9: of the command, of the run's process, and of the daemon and code server beside it."""
    installed = Installation(tmp_path / "made", SLOW, **SHORT, dataset_quiet_s=1e6)
    bench = bench_of(installed)
    bench.settings.inbox_folder.mkdir(parents=True)
    with daemon_of(installed) as (daemon, instance):
        killed: list[str] = []
        for number, kill in enumerate([in_command, in_command, alone, with_daemon, with_daemon]):
            killed.append(kill(installed, daemon, instance, video(tmp_path / f"{number}.mp4", shots=(30 + number,))))
        daemon.wait(instance, lambda: all(len(successors(instance, run_id)) == 1 for run_id in killed))
        daemon.wait(instance, lambda: not instance.get_runs_count(dg.RunsFilter(statuses=UNFINISHED)))
        let_it_look(daemon, instance, "lost_restarts", 2)
        for run_id in killed:
            (successor,) = successors(instance, run_id)
            assert successor.status == dg.DagsterRunStatus.SUCCESS, successor.tags
        assert bench.store.videos("videos") == bench.store.keys("videos"), "of a command the stage that it was at"
        order = instance.get_dynamic_partitions("videos")
        whole = {key for run_id in killed for key in arrivals_of(instance, run_id, order)}
        assert len(whole) == 3
        assert set(bench.store.videos("episodes")) == whole, "of the inbox's runs everything"


def arrivals_of(instance: dg.DagsterInstance, run_id: str, order: Sequence[str]) -> list[str]:
    """The videos of a run, if the inbox asked for it."""
    run = instance.get_run_by_id(run_id)
    return partitions_of(run.tags, order) if run and run.tags.get("dagster/sensor_name") == "inbox" else []


def successors(instance: dg.DagsterInstance, run_id: str) -> list[dg.DagsterRun]:
    """Runs that were started in place of one, by Dagster or by us."""
    return [
        run
        for tag in ("dagster/parent_run_id", "egoworld/restart_of")
        for run in instance.get_runs(dg.RunsFilter(tags={tag: run_id}))
    ]


def in_the_middle(
    daemon: Daemon, instance: dg.DagsterInstance, ours: Callable[[dg.DagsterRun], bool]
) -> tuple[dg.DagsterRun, Identity]:
    """A run that is being executed, with its process."""
    found: list[tuple[dg.DagsterRun, Identity]] = []

    def runs() -> bool:
        for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
            _, _, process = run.tags.get("egoworld/process", "").partition(" ")
            identity = Identity.parse(process)
            if identity and not identity.ended and ours(run):
                found.append((run, identity))
                return True
        return False

    daemon.wait(instance, runs)
    return found[0]


def is_first_of_inbox(run: dg.DagsterRun) -> bool:
    """Whether the inbox sensor asked for a run, which is not in place of another."""
    return run.tags.get("dagster/sensor_name") == "inbox" and "dagster/parent_run_id" not in run.tags


def in_command(installed: Installation, daemon: Daemon, instance: dg.DagsterInstance, file: Path) -> str:
    """Kill -9 of `egoworld demo VIDEO` while it runs a stage."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("EGOWORLD_")}
    command = [sys.executable, "-m", "egoworld_assets.cli", "demo", str(file)]
    environment = {**kept, "EGOWORLD_CONFIG": installed.config}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        run, identity = in_the_middle(daemon, instance, lambda run: run.remote_job_origin is None)
        assert identity.pid == process.pid
        kill_tree(process.pid)
    return run.run_id


def alone(installed: Installation, daemon: Daemon, instance: dg.DagsterInstance, file: Path) -> str:
    """Kill -9 of the process of a run that the inbox sensor asked for."""
    drop(file, bench_of(installed).settings.inbox_folder)
    run, identity = in_the_middle(daemon, instance, is_first_of_inbox)
    kill_tree(identity.pid)
    return run.run_id


def with_daemon(installed: Installation, daemon: Daemon, instance: dg.DagsterInstance, file: Path) -> str:
    """The same, and of the daemon with its code server: nobody is there to see it."""
    drop(file, bench_of(installed).settings.inbox_folder)
    run, identity = in_the_middle(daemon, instance, is_first_of_inbox)
    daemon.end()
    kill_tree(identity.pid)
    daemon.start()
    return run.run_id


def kill_tree(pid: int) -> None:
    """Kill -9 of a process and of all below it."""
    for process in [*below(pid), psutil.Process(pid)] if psutil.pid_exists(pid) else []:
        try:
            process.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue
