"""What a command of the command line loads: nothing heavy before it is needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from egoworld_resources.settings import Settings
from tests.benchmarks.made_store import fill

HEAVY = {
    "alembic", "av", "boto3", "botocore", "cv2", "dagster", "fastapi", "numpy", "pyarrow", "pycocotools",
    "rattler", "scenedetect", "scipy", "sqlalchemy", "uvicorn",
}  # fmt: skip
LOADED = """
import atexit, json, os, sys

atexit.register(lambda: os.write(int(sys.argv.pop()), json.dumps(sorted(sys.modules)).encode()))
from egoworld_assets.cli.app import app

app(sys.argv[1:-1])
"""


def loaded(home: Path, *command: str) -> tuple[set[str], str]:
    """The top-level packages that were loaded when the command ended, and its output."""
    read, write = os.pipe()
    env = {**os.environ, "EGOWORLD_HOME": str(home), "EGOWORLD_STORE": "folder"}
    with os.fdopen(read) as pipe:
        done = subprocess.run(
            [sys.executable, "-c", LOADED, *command, str(write)],
            env=env,
            cwd=home,
            pass_fds=(write,),
            capture_output=True,
            text=True,
            check=False,
        )
        os.close(write)
        modules: list[str] = json.load(pipe)
    assert not done.stderr
    return {module.partition(".")[0] for module in modules}, done.stdout


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two videos with every artifact."""
    folder = tmp_path_factory.mktemp("home")
    fill(Settings.load(home=folder, store="folder"), range(2))
    return folder


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        (["--help"], "Make what is missing or stale"),
        (["refresh", "--help"], "--retry-failed"),
    ],
)
def test_help_loads_no_configuration(home: Path, command: list[str], shown: str) -> None:
    packages, output = loaded(home, *command)
    assert shown in output
    assert packages & HEAVY == set()
    assert packages & {"pydantic_settings", "egoworld_runner"} == set()


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        (["env", "--help"], "policy"),
        (["kit", "--help"], "Everything that an installation needs"),
        (["weights", "--help"], "push"),
        (["status", "made-00000"], "robot_trajectories"),
        (["status", "--json"], '"asset": "previews"'),
        (["stale", "made-00000"], "nothing is missing or stale"),
        (["lineage", "made-00000/episodes"], "robot_trajectories"),
        (["rights"], "made 00000.mp4"),
        (["fsck", "--quick"], "2 missing"),
        (["gc"], "would be removed"),
        (["env", "phase"], "docker"),
    ],
)
def test_a_command_loads_nothing_heavy(home: Path, command: list[str], shown: str) -> None:
    packages, output = loaded(home, *command)
    assert shown in output
    assert packages & HEAVY == set()


@pytest.mark.parametrize("command", [["status"], ["stale"], ["lineage"]])
def test_a_look_at_one_video_loads_nothing_about_processes(home: Path, command: list[str]) -> None:
    packages, output = loaded(home, *command, "made-00000" + ("/clips" if command == ["lineage"] else ""))
    assert output
    assert packages & {"psutil"} == set()


def test_the_doctor_loads_s3_and_video_where_it_examines_them(home: Path) -> None:
    packages, output = loaded(home, "doctor", "--json")
    assert {"video", "S3", "envs"} & {finding["check"] for finding in json.loads(output)["findings"]}
    assert packages & HEAVY == set()


def test_what_makes_artifacts_is_seen_when_it_is_loaded(home: Path) -> None:
    """A command that needs Dagster: the others do not pass because nothing is ever seen."""
    packages, _ = loaded(home, "prune")
    assert {"dagster", "sqlalchemy"} <= packages
