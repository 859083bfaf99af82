"""A Dagster daemon of one installation, to be killed and started again: no webserver beside it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest
import yaml

from egoworld_assets.automation.jobs import DATASET
from egoworld_assets.orchestration.registry import stages
from egoworld_resources.making.workbench import Workbench
from egoworld_resources.settings import PROJECT, Settings
from tests import brisk_daemon
from tests.faults import below, kill_pid
from tests.made_graph import Installation

PATIENCE_S = 600.0


class Daemon:
    """`dagster-daemon run`, brisk, on the home of an installation, and the Dagster instance that it shares with us.

    at_once: runs that may be executed at a time; with 0 they are only asked for.
    """

    def __init__(self, installed: Installation, at_once: int = 2) -> None:
        self.home = installed.folder / "data" / "dagster"
        self.home.mkdir(parents=True, exist_ok=True)
        self.facts = yaml.safe_load((PROJECT / "infra" / "dagster.yaml").read_text(encoding="utf-8"))
        self.facts["concurrency"]["runs"]["max_concurrent_runs"] = at_once
        brisk_daemon.brisk(self.facts)
        self.workspace = installed.folder / "workspace.yaml"
        self.configure()
        self.environment = {n: v for n, v in os.environ.items() if not n.startswith("EGOWORLD_")}
        self.environment |= {"EGOWORLD_CONFIG": installed.config, "DAGSTER_HOME": str(self.home)}
        self.environment |= brisk_daemon.ENVIRONMENT
        self.log = installed.folder / "daemon.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._ours: set[int] = set()

    def configure(self) -> None:
        """Say how the daemon works: a command on this home puts our own dagster.yaml there."""
        (self.home / "dagster.yaml").write_text(yaml.safe_dump(self.facts), encoding="utf-8")
        self.workspace.write_text(yaml.safe_dump(brisk_daemon.workspace()), encoding="utf-8")

    def start(self) -> None:
        """Start it."""
        self.configure()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.brisk_daemon", "run", "-w", str(self.workspace)],
                cwd=PROJECT,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self) -> None:
        """Kill -9 of the daemon alone; its code server and its runs are left to themselves."""
        assert self.process is not None
        self._ours.update(process.pid for process in below(self.process.pid))
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """Kill it with all that it started."""
        assert self.process is not None
        for process in below(self.process.pid):
            kill_pid(process.pid)
        self.kill()

    def wait(self, instance: dg.DagsterInstance, what: Callable[[], bool]) -> None:
        """Until ``what`` is so; fails with what the daemon said when it never is."""
        end = time.monotonic() + PATIENCE_S
        while not what():
            if time.monotonic() > end:
                runs = [(run.job_name, run.status.value, dict(run.tags)) for run in instance.get_runs(limit=20)]
                pytest.fail(f"it never came; runs: {runs}\n{self.log.read_text()[-4000:]}")
            time.sleep(0.5)


@contextmanager
def daemon_of(installed: Installation, at_once: int = 2) -> Iterator[tuple[Daemon, dg.DagsterInstance]]:
    """A running daemon and its instance; nothing of it outlives the context."""
    daemon = Daemon(installed, at_once)
    with dg.DagsterInstance.from_config(str(daemon.home)) as instance:
        daemon.start()
        try:
            yield daemon, instance
        finally:
            daemon.end()


def bench_of(installed: Installation) -> Workbench:
    """The workbench of an installation, in this process."""
    folder = Path(installed.folder)
    served = dict.fromkeys(installed.params, "quick")
    envs = (folder / "more" / "envs",)
    return Workbench(Settings.load(home=folder / "data", extra_envs=envs, stages=served, params=installed.params))


def in_dataset(bench: Workbench) -> dict[str, str]:
    """Data version of the episodes by video, as the merged dataset says."""
    try:
        listed = json.loads((bench.layout.dataset / "lineage.json").read_text(encoding="utf-8"))["videos"]
    except FileNotFoundError:
        return {}
    return {entry["video"]: entry["data_version"] for entry in listed}


def live(bench: Workbench) -> dict[str, str]:
    """Data version of the fresh episodes by video."""
    states = {video: bench.state(stages()["episodes"], video) for video in bench.store.keys("videos")}
    return {v: s.manifest.data_version for v, s in states.items() if s.manifest and s.condition == "fresh"}


def merges(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    """The runs that merge the dataset, newest first."""
    return list(instance.get_runs(dg.RunsFilter(job_name=DATASET.name)))
