"""What the README says exists: its commands, its configuration, its example of a model env."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from egoworld_assets.cli.app import app
from egoworld_assets.orchestration.registry import stages
from egoworld_resources.environments.declaration import read_env
from egoworld_resources.making.workbench import Workbench
from egoworld_resources.settings import Settings

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
TOML = re.findall(r"```toml\n(.*?)```", README, flags=re.DOTALL)


def test_every_make_target_exists() -> None:
    named = set(re.findall(r"(?m)(?:`|^)make ([a-z]+)\b", README))
    assert {"demo", "test", "ui", "lock", "check", "help"} <= named
    for target in named:
        done = subprocess.run(["make", "-n", target], cwd=REPOSITORY, capture_output=True, text=True, check=False)
        assert "No rule to make target" not in done.stderr, target


def test_every_command_exists() -> None:
    named = set(re.findall(r"`egoworld ([a-z]+)", README))
    assert {"status", "lineage", "refresh", "view"} <= named
    for command in named:
        assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0, command


def test_the_configuration_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "egoworld.toml").write_text(TOML[0], encoding="utf-8")
    monkeypatch.setenv("EGOWORLD_CONFIG", str(tmp_path / "egoworld.toml"))
    bench = Workbench(Settings.load())
    for stage in stages().values():
        bench.recipe(stage)
    assert bench.recipe(stages()["clips"]).env == "transnet"


def test_the_example_of_a_model_env_is_one(tmp_path: Path) -> None:
    folder = tmp_path / "mymodel"
    folder.mkdir()
    (folder / "pyproject.toml").write_text(TOML[1], encoding="utf-8")
    (folder / "runner.py").write_text("", encoding="utf-8")
    env = read_env(folder)
    assert env is not None
    assert env.stages["hand_poses"].runner == "runner:MyHands"


def test_every_stage_and_link_is_there() -> None:
    for stage in stages():
        assert stage in README, stage
    for target in re.findall(r"\]\(((?!http)[^)#]+)\)", README):
        assert (REPOSITORY / target).exists(), target
    assert tomllib.loads(TOML[0])
