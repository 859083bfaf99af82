"""A video that fails: shown in Dagster, left alone while nothing changes, tried again when its runner does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg

from egoworld_assets.automation.schedules import hourly_quarantine
from egoworld_assets.definitions import build
from egoworld_assets.orchestration.registry import stages
from egoworld_assets.planning.outdated import outdated
from egoworld_resources.making.workbench import Workbench
from egoworld_resources.settings import Settings
from tests.made_graph import RUNNER, Installation
from tests.made_up import video

READS_NONE = RUNNER.replace(
    "class Hands(Runner):\n    writes = (tables.HandPose,)\n\n    def run(self, clip, inputs, params):\n",
    "class Hands(Runner):\n    writes = (tables.HandPose,)\n\n    def run(self, clip, inputs, params):\n"
    '        raise ClipFailed("the lens was covered; film again")\n',
).replace("import Runner, tables", "import ClipFailed, Runner, tables")


def refreshed(installed: Installation) -> int:
    """Exit status of a refresh; failed videos make it 1."""
    command = [sys.executable, "-m", "egoworld_assets.cli", "refresh"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("EGOWORLD_")}
    env = {**kept, "EGOWORLD_CONFIG": installed.config}
    return subprocess.run(command, env=env, capture_output=True, check=False, timeout=600).returncode


def bench_of(installed: Installation) -> Workbench:
    envs = installed.runner.parent.parent
    served = dict.fromkeys(installed.params, "quick")
    return Workbench(Settings.load(home=installed.folder / "data", extra_envs=(envs,), stages=served))


def table(bench: Workbench) -> list[dict[str, object]]:
    """What the job of the hourly schedule shows."""
    job = build(bench).resolve_job_def(hourly_quarantine.job_name)
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(instance=instance)
        [event] = result.asset_materializations_for_node("quarantine")
    return [dict(record.data) for record in event.metadata["table"].records]


def test_what_failed_is_shown_and_tried_again_once_its_runner_changed(tmp_path: Path) -> None:
    assert "ClipFailed(" in READS_NONE
    installed = Installation(tmp_path, READS_NONE)
    installed.make("ingest", str(video(tmp_path / "a.mp4")))
    assert refreshed(installed) == 1
    bench = bench_of(installed)
    [key] = [key for key, _ in bench.store.records("videos")]

    [told] = table(bench)
    assert (told["video"], told["name"], told["stage"], told["state"]) == (key, "a.mp4", "hand_poses", "failed")
    assert "the lens was covered" in str(told["reason"])
    assert told["attempts"] == 1
    repeated = subprocess.run(["bash", "-c", str(told["reproduce"])], capture_output=True, text=True, check=False)
    assert "the lens was covered" in repeated.stdout + repeated.stderr

    assert outdated(bench, stages().values(), key) == [], "the same would fail again"
    assert installed.plan()["steps"] == []

    installed.runner.write_text(RUNNER, encoding="utf-8")
    bench = bench_of(installed)
    assert "hand_poses" in outdated(bench, stages().values(), key)
    assert table(bench) == []
    assert refreshed(installed) == 0
    assert {entry["state"] for entry in json.loads(installed.ask("status", "--json"))["assets"]} == {"fresh"}
