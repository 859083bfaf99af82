"""`egoworld reproduce` as people and programs use it, on the whole graph."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from egoworld_assets.cli.app import app
from tests.made_graph import RUNNER, SERVED, Installation


@pytest.fixture(scope="module")
def installed(made_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """Everything made of a video."""
    return Installation.copy_of(made_home, tmp_path_factory.mktemp("installed"))


def reproduce(installed: Installation, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["reproduce", *arguments], env={"EGOWORLD_CONFIG": installed.config})


def test_every_artifact_of_a_video_comes_out_the_same_on_one_core_too(
    installed: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_setaffinity", lambda _pid, cores: given.append(len(cores)))
    given: list[int] = []
    done = reproduce(installed, "a.mp4", "--cores", "1", "--json")
    assert done.exit_code == 0, done.output
    reproduced = json.loads(done.stdout)
    assert {answer["asset"] for answer in reproduced} == {"videos", "clips", *SERVED, "episodes"}
    assert {answer["state"] for answer in reproduced} == {"same"}
    assert given == [1]


def test_one_artifact_by_name_and_a_table_for_people(installed: Installation) -> None:
    done = reproduce(installed, "a.mp4/masks")
    assert done.exit_code == 0, done.output
    assert "masks: same" in done.stdout


def test_other_code_is_refused_with_the_fix(installed: Installation) -> None:
    installed.runner.write_text(RUNNER.replace("0.9, points", "0.8, points"), encoding="utf-8")
    done = reproduce(installed, "a.mp4/hand_poses", "--json")
    installed.runner.write_text(RUNNER, encoding="utf-8")
    assert done.exit_code == 1
    (answer,) = json.loads(done.stdout)
    assert answer["state"] == "refused"
    assert "runner source of quick changed" in answer["why"][0]
    assert "Check out the code that made it on" in answer["why"][0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nobody.mp4",), "unknown video 'nobody.mp4'"),
        (("a.mp4", "--cores", "4096"), "--cores 4096: this process has"),
        (("nobody/masks",), "unknown video 'nobody'"),
    ],
)
def test_what_cannot_be_asked_is_answered(installed: Installation, arguments: tuple[str, ...], message: str) -> None:
    done = reproduce(installed, *arguments)
    assert done.exit_code == 1
    assert message in done.output
