"""Faults of a machine, made for real, on a small installation: one stage that meets them, and the sensor behind it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from typer.testing import CliRunner

from egoworld_assets.cli.app import app
from egoworld_assets.definitions import build
from egoworld_assets.orchestration.registry import stages
from egoworld_resources.inbox.arrivals import Arrivals
from egoworld_resources.leases.locks import lock
from egoworld_resources.making.workbench import Workbench
from egoworld_resources.settings import Settings
from egoworld_resources.store.protocol import Store
from tests.made_dagster import dagster_in
from tests.made_graph import Installation
from tests.made_up import video
from tests.sensors import Ticks

STAGE = "hand_poses"
WEIGHTS = b"weights of a model"
TRIES = 12
SHORT = {"retry_delay_s": 0.0, "retry_first_s": 0.01, "retry_longest_s": 0.05, "sensors_every_s": 1}
"""The clock of the tests: a trial as soon as anybody asks."""


class Site:
    """An installation with videos whose hands are to be found next, by an env of its own with weights."""

    def __init__(self, folder: Path, template: Path | None = None, **settings: float | str) -> None:
        self.installed = Installation(folder, **{**SHORT, **settings})
        self.env = self.installed.runner.parent
        self.pyproject = self.env / "pyproject.toml"
        self.models = folder / "models"
        self.models.mkdir()
        self.weights = self.models / "hands.bin"
        self.weights.write_bytes(WEIGHTS)
        declared = {"name": "hands", "path": "hands.bin", "sha256": hashlib.sha256(WEIGHTS).hexdigest()}
        declared["licence"] = "CC0-1.0"
        lines = [f"[[tool.egoworld.stages.{STAGE}.weights]]", *(f'{name} = "{v}"' for name, v in declared.items())]
        self.pyproject.write_text(self.pyproject.read_text() + "\n".join(lines) + "\n", encoding="utf-8")
        self.home = folder / "data"
        os.environ["EGOWORLD_CONFIG"] = self.installed.config
        os.environ["EGOWORLD_MODEL_HOME"] = str(self.models)
        if template:
            shutil.copytree(template, self.home / "store")
        self.dagster = self.home / "dagster"
        self.instance = dagster_in(self.dagster)

    def bench(self, store: Store | None = None) -> Workbench:
        """The workbench as a new process would see it."""
        return Workbench(Settings.load(), store=store)

    def prepare(self, videos: int) -> list[str]:
        """Take videos in and make what comes before the stage."""
        bench = self.bench()
        paths = [video(self.installed.folder / f"{n}.mp4", shots=(5 + n,), size=(32, 32)) for n in range(videos)]
        keys = [Arrivals(bench.store).take(path).video for path in paths]
        for name in ("videos", "clips"):
            bench.make(stages()[name], keys, "run")
        return keys

    @property
    def keys(self) -> list[str]:
        return self.bench().store.keys("videos")

    def run(
        self, key: str | None, tags: dict[str, str] | None = None, store: Store | None = None
    ) -> dg.ExecuteInProcessResult:
        """A run of the stage, as the daemon would start it: for one video, or for those that tags name."""
        bench = self.bench(store)
        if key:
            self.instance.add_dynamic_partitions("videos", [key])
        job = build(bench).resolve_job_def("flow")
        return job.execute_in_process(
            instance=self.instance,
            partition_key=key,
            asset_selection=[dg.AssetKey(STAGE)],
            tags=tags,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            raise_on_error=False,
        )

    def command(self, *arguments: str) -> str:
        """What a command prints, in this process; it may end with exit status 1, as videos are left over."""
        done = CliRunner().invoke(app, list(arguments))
        assert done.exit_code in (0, 1), done.output
        return done.stdout

    def clock(self, retry_s: float) -> None:
        """Let what is at fault be tried again after a number of seconds; what is known to be at fault, now."""
        self.installed.settings.update(retry_first_s=retry_s, retry_longest_s=retry_s)
        self.installed.configure()
        self.bench().waits.try_now()

    def look(self, sensor: str) -> Any:
        """What a sensor answers in a tick of the daemon; nothing of it is done."""
        return Ticks(self.bench(), self.instance).look(sensor)

    def listed(self) -> str:
        """What the UI shows at the asset quarantine after its next run."""
        job = build(self.bench()).resolve_job_def("quarantine_table")
        assert job.execute_in_process(instance=self.instance).success
        event = self.instance.get_latest_materialization_event(dg.AssetKey("quarantine"))
        assert event
        assert event.asset_materialization
        return str(event.asset_materialization.metadata)

    def asked(self) -> list[dg.RunRequest]:
        """What the sensor of what waits asks for."""
        return list(self.look("waiting").run_requests or ())

    def recover(self) -> int:
        """Ticks of the daemon, each with the runs that it asks for, until nothing waits; how many runs there were."""
        runs = 0
        for _ in range(TRIES):
            for request in self.asked():
                runs += 1
                key = {"dagster/run_key": str(request.run_key)}
                self.run(request.tags.get("dagster/partition"), {**request.tags, **key})
            if not self.bench().waits.waiting():
                break
        return runs

    def conditions(self) -> set[str]:
        bench = self.bench()
        return {bench.state(stages()[STAGE], key).condition for key in self.keys}

    def condemned(self) -> list[str]:
        """What is recorded against any video."""
        store = self.bench().store
        return [f"{kind}/{key}" for kind in ("failures", "quarantine", "refusals") for key in store.keys(kind)]

    def waits(self) -> list[dict[str, Any]]:
        """The causes that `egoworld status --json` names."""
        return json.loads(self.installed.ask("status", "--json"))["waiting"]


@contextmanager
def outer_environment() -> Iterator[None]:
    """The environment as it was, afterwards."""
    before = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def prepared_store(folder: Path) -> Path:
    """A store with two videos whose hands are to be found next; a Site starts from a copy of it."""
    with outer_environment():
        site = Site(folder)
        site.prepare(2)
        return site.home / "store"


@contextmanager
def rewritten(path: Path, text: str) -> Iterator[None]:
    """A file with other contents while the context lasts."""
    before = path.read_bytes()
    path.write_text(text, encoding="utf-8")
    try:
        yield
    finally:
        path.write_bytes(before)


@contextmanager
def away(path: Path) -> Iterator[None]:
    """A file that is not there while the context lasts."""
    hidden = path.with_name(f"{path.name}.away")
    path.rename(hidden)
    try:
        yield
    finally:
        hidden.rename(path)


@contextmanager
def disk_full(folder: Path, size: str = "3m") -> Iterator[None]:
    """A file system of its own at a folder, with all of its space taken."""
    with own_file_system(folder, f"size={size}"), filled(folder):
        yield


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """All space of a folder's file system taken while the context lasts."""
    with (folder / "ballast").open("wb", buffering=0) as ballast:
        lock(ballast.fileno())  # what nobody holds in a scratch folder is swept away
        with suppress(OSError):
            while True:
                ballast.write(b"x" * 4096)
        try:
            yield
        finally:
            Path(ballast.name).unlink()


@contextmanager
def own_file_system(folder: Path, options: str) -> Iterator[None]:
    """A tmpfs at a folder with what was in it; what is in it at the end stays there."""
    if os.geteuid() != 0:
        pytest.skip("only root mounts a file system")
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder.with_name(f"{folder.name}.kept")
    subprocess.run(["cp", "-a", f"{folder}/.", kept], check=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"this kernel lets us mount nothing: {mounted.stderr.decode().strip()}")
    try:
        subprocess.run(["cp", "-a", f"{kept}/.", folder], check=True)
        yield
        subprocess.run(["mount", "-o", "remount,rw", folder], check=True)
        subprocess.run(["cp", "-a", f"{folder}/.", kept], check=True)
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
        subprocess.run(["cp", "-a", f"{kept}/.", folder], check=True)
