"""The built wheel, installed where there is no checkout: it has the envs and locks that its commands need."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from egoworld_resources.environments.building.uv import find_uv
from egoworld_resources.settings import PROJECT

CARRIED = ("envs", "locks", "infra")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by hatchling itself, without a network."""
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", out], cwd=PROJECT, check=True)
    return next(out.glob("egoworld-*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new venv with the wheel; what egoworld depends on is read from our own interpreter's packages."""
    folder = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(folder, symlinks=True)
    command = [find_uv(PROJECT), "pip", "install", "--quiet", "--offline", "--no-deps", "--python", folder, wheel]
    subprocess.run(command, check=True)
    packages = next(folder.glob("lib/python*/site-packages"))
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return folder


def run(installed: Path, far: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """A command of the installed wheel, in a folder without a checkout above it."""
    ours = ("PATH", "HOME", "LANG")
    env = {name: os.environ[name] for name in ours if name in os.environ} | {"EGOWORLD_HOME": str(far / "data")}
    program = [str(installed / "bin" / command[0]), *command[1:]]
    return subprocess.run(program, cwd=far, env=env, capture_output=True, text=True, check=False)


def test_the_wheel_carries_every_file_of_envs_and_locks(wheel: Path) -> None:
    listed = subprocess.run(["git", "ls-files", "-z", *CARRIED], cwd=PROJECT, capture_output=True, check=True)
    tracked = {name for name in listed.stdout.decode().split("\0") if name}
    with zipfile.ZipFile(wheel) as archive:
        for name in {*tracked, "pyproject.toml", "workspace.yaml"}:
            assert archive.read(f"egoworld_resources/project/{name}") == (PROJECT / name).read_bytes(), name


def test_nothing_of_the_checkout_is_used(installed: Path, tmp_path: Path) -> None:
    code = "import egoworld_runner as r; from egoworld_resources.settings import PROJECT; print(PROJECT, r.__file__)"
    done = run(installed, tmp_path, "python", "-c", code)
    assert done.returncode == 0, done.stderr
    project, runner = done.stdout.split()
    assert Path(project).is_relative_to(installed)
    assert Path(runner).is_relative_to(Path(project, "envs", "runner"))


def test_env_check_passes_far_from_the_checkout(installed: Path, tmp_path: Path) -> None:
    done = run(installed, tmp_path, "egoworld", "env", "check", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    checked = json.loads(done.stdout)
    envs = len([*PROJECT.glob("envs/*/pyproject.toml"), *PROJECT.glob("tests/envs/*/pyproject.toml")]) - 1
    assert checked["breaches"] == []
    assert checked["told"].startswith(f"{envs} envs, "), "all but the contract, which is no env"


def test_the_doctor_finds_the_declarations_and_locks(installed: Path, tmp_path: Path) -> None:
    done = run(installed, tmp_path, "egoworld", "doctor", "--json")
    found = json.loads(done.stdout)["findings"]
    of_project = {"Python", "glibc", "video", "stages", "locks", "ending models"}
    states = {(one["check"], one["state"]) for one in found if one["check"] in of_project}
    assert states == {(check, "ok") for check in of_project} | {("video", "not needed")}
