"""Staleness from the command line to Dagster and back: what is told beforehand is what is then made.

A made-up env serves every stage that needs a model, so that the whole graph runs in seconds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from egoworld_assets.cli import app
from tests.made_up import video

RUNNER = '''
"""Every stage of the graph without a model: few rows, of which some follow the hands."""

from egoworld_runner import Runner, tables


class Hands(Runner):
    writes = (tables.HandPose,)

    def run(self, clip, inputs, params):
        for frame in range(clip.start_frame, clip.end_frame):
            points = [[10.0 + joint + params["shift"], 20.0 + joint] for joint in range(21)]
            yield tables.HandPose(frame, "right", 0.9, points)


class Detections(Runner):
    writes = (tables.Detection,)

    def run(self, clip, inputs, params):
        yield from ()


class Masks(Runner):
    writes = (tables.Mask,)

    def run(self, clip, inputs, params):
        for row in inputs.rows("hand_poses"):
            area = int(row["keypoints_2d"][0])
            yield tables.Mask(row["frame"], 2, "hand", "0", clip.height, clip.width, area, params["score"])


class Tracks(Runner):
    writes = (tables.TrackPoint,)

    def run(self, clip, inputs, params):
        for row in inputs.rows("masks"):
            yield tables.TrackPoint(1, row["frame"], 1.0, float(row["area"]), True, 2)


class Reconstructions(Runner):
    writes = (tables.CameraPose,)

    def run(self, clip, inputs, params):
        yield from ()


class ObjectPoses(Runner):
    writes = (tables.ObjectPose,)

    def run(self, clip, inputs, params):
        yield from ()


class Robots(Runner):
    writes = (tables.RobotPose,)

    def run(self, clip, inputs, params):
        for row in inputs.rows("hand_poses"):
            yield tables.RobotPose(row["frame"], "right", "gripper", ["grip"], [row["keypoints_2d"][0] / 100], 0.0)


class Previews(Runner):
    writes = ()

    def run(self, clip, inputs, params):
        for name in ("contact_sheet.png", "overlay.mp4", "recording.rrd"):
            (clip.folder / name).write_text(str(len(inputs.rows("masks"))))
        yield from ()
'''

SERVED = {
    "hand_poses": ("Hands", {"shift": 0.0}),
    "detections": ("Detections", {}),
    "masks": ("Masks", {"score": 0.5, "unused": 0}),
    "tracks": ("Tracks", {}),
    "reconstructions": ("Reconstructions", {}),
    "object_poses": ("ObjectPoses", {}),
    "robot_trajectories": ("Robots", {}),
    "previews": ("Previews", {}),
}
PROBED = ("videos", "clips")
BEHIND_HANDS = {*SERVED, "episodes"} - {"hand_poses"}
BEHIND_MASKS = {"tracks", "reconstructions", "object_poses", "previews", "episodes"}


class Installation:
    """A home with two videos and a configuration; commands are processes of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runner = folder / "more" / "envs" / "quick" / "runner.py"
        self.runner.parent.mkdir(parents=True)
        self.runner.write_text(RUNNER, encoding="utf-8")
        lines = ["[project]", 'name = "egoworld-quick"', 'version = "0"', 'requires-python = ">=3.11"']
        lines += ["dependencies = []", "[tool.egoworld]", 'interpreter = "base"']
        for stage, (kind, params) in SERVED.items():
            lines += [f"[tool.egoworld.stages.{stage}]", f'runner = "runner:{kind}"', 'device = "cpu"']
            lines += ['licence = "CC0-1.0"', f"[tool.egoworld.stages.{stage}.params]"]
            lines += [f"{name} = {value}" for name, value in params.items()]
        (self.runner.parent / "pyproject.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
        self.config = str(folder / "egoworld.toml")
        self.params = {stage: dict(params) for stage, (_, params) in SERVED.items()}
        self.configure()

    def change(self, stage: str, name: str) -> str:
        """Give a parameter a value that it never had; returns the change in words."""
        old = self.params[stage][name]
        self.params[stage][name] = old + 1
        self.configure()
        return f"{name} {old} → {old + 1}"

    def configure(self) -> None:
        lines = [f'home = "{self.folder}/data"', f'extra_envs = ["{self.runner.parent.parent}"]', "[stages]"]
        lines += [f'{stage} = "quick"' for stage in SERVED]
        for stage, params in self.params.items():
            lines += [f"[params.{stage}]", *(f"{name} = {value}" for name, value in params.items())]
        Path(self.config).write_text("\n".join(lines) + "\n", encoding="utf-8")

    def make(self, *arguments: str) -> str:
        """What a command printed that runs in a process of its own; it must succeed."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("EGOWORLD_")}
        done = subprocess.run(
            [sys.executable, "-m", "egoworld_assets.cli", *arguments],
            env={**kept, "EGOWORLD_CONFIG": self.config},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def ask(self, *arguments: str) -> str:
        """What a command printed that only looks, in this process."""
        done = CliRunner().invoke(app, list(arguments), env={"EGOWORLD_CONFIG": self.config, "EGOWORLD_HOME": None})
        assert done.exit_code == 0, done.output
        return done.stdout

    def plan(self) -> dict[str, Any]:
        return json.loads(self.ask("stale", "--json"))

    def runs(self) -> dict[tuple[str, str], str]:
        """Which run made each live artifact last."""
        found: dict[tuple[str, str], str] = {}
        for path in (self.folder / "data" / "store" / "artifacts").glob("*/*/current.json"):
            live = path.parent / json.loads(path.read_text())["data_version"] / "manifest.json"
            manifest = json.loads(live.read_text())
            found[manifest["asset"], manifest["video"]] = manifest["run_id"]
        return found


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """Everything fresh."""
    found = Installation(tmp_path_factory.mktemp("installed"))
    paths = [video(found.folder / "a.mp4"), video(found.folder / "b.mp4", shots=(9, 9))]
    found.make("ingest", *map(str, paths))
    assert {step["asset"] for step in found.plan()["steps"]} == {*PROBED, *SERVED, "episodes"}
    found.make("refresh")
    assert len(found.runs()) == 22
    return found


@pytest.fixture
def fresh(installed: Installation) -> Installation:
    """The same, with whatever an earlier test left stale made again."""
    if installed.plan()["steps"]:
        installed.make("refresh")
    assert "nothing is missing or stale" in installed.ask("stale")
    return installed


def changed(before: dict[tuple[str, str], str], after: dict[tuple[str, str], str]) -> set[str]:
    """Assets that were made again, and that for both videos."""
    places = {place for place, run in after.items() if before[place] != run}
    assets = {asset for asset, _ in places}
    assert len(places) == 2 * len(assets)
    return assets


def test_a_parameter_is_told_with_its_reason_and_price_and_then_exactly_that_is_made(fresh: Installation) -> None:
    before = fresh.runs()
    change = fresh.change("hand_poses", "shift")
    told = fresh.plan()
    certain = {step["asset"]: step for step in told["steps"] if step["certain"]}
    possible = {step["asset"]: step for step in told["steps"] if not step["certain"]}
    assert certain.keys() == {"hand_poses"}
    assert certain["hand_poses"]["why"] == f"parameters changed: {change}"
    assert possible.keys() == BEHIND_HANDS
    assert {step["why"] for step in possible.values()} == {f"behind hand_poses: parameters changed: {change}"}
    assert all(step["seconds"] > 0 and step["gpu_seconds"] == 0 for step in told["steps"])
    assert told["total"]["seconds"] > told["total"]["seconds_certain"] > 0
    assert (told["total"]["steps"], told["total"]["unknown"]) == (18, 0)

    printed = fresh.ask("refresh", "--plan")
    assert f"parameters changed: {change}" in printed
    nothing = fresh.ask("refresh", "--max-hours", "0")
    assert "0 of 2 videos fit into 0 h" in nothing
    assert nothing.count("left: ") == 2
    assert fresh.runs() == before, "neither runs anything"

    fresh.make("refresh", "--max-hours", "1")
    made = changed(before, fresh.runs())
    assert {"hand_poses", "masks", "tracks", "robot_trajectories", "episodes"} <= made <= {"hand_poses", *BEHIND_HANDS}
    assert fresh.plan()["steps"] == []


def test_what_comes_out_the_same_leaves_all_behind_it_fresh(fresh: Installation) -> None:
    before = fresh.runs()
    fresh.change("masks", "unused")
    told = fresh.plan()["steps"]
    assert {step["asset"] for step in told if step["certain"]} == {"masks"}
    assert {step["asset"] for step in told if not step["certain"]} == BEHIND_MASKS
    fresh.make("refresh")
    assert changed(before, fresh.runs()) == {"masks"}
    assert fresh.plan()["steps"] == []


def test_a_comment_or_another_format_of_a_runner_changes_nothing(fresh: Installation) -> None:
    words = RUNNER.replace("Every stage", "All stages").replace("    def run", "    # rows of one clip\n    def run")
    fresh.runner.write_text(words.replace('"right", 0.9, points', "'right',\n  0.90,  points"), encoding="utf-8")
    assert fresh.plan()["steps"] == []
    fresh.runner.write_text(RUNNER.replace("0.9, points", "0.8, points"), encoding="utf-8")
    told = fresh.plan()["steps"]
    fresh.runner.write_text(RUNNER, encoding="utf-8")
    assert {step["why"] for step in told if step["asset"] == "hand_poses"} == {"runner source of quick changed"}


def test_only_videos_that_fit_are_made_and_the_others_are_said(fresh: Installation) -> None:
    before = fresh.runs()
    fresh.change("masks", "unused")
    found = fresh.plan()
    costs = dict.fromkeys({step["video"] for step in found["steps"]}, 0.0)
    for step in found["steps"]:
        costs[step["video"]] += step["seconds"]
    small, large = sorted(costs, key=lambda video: costs[video])
    loads = found["total"]["load_seconds"]
    said = fresh.make("refresh", "--max-hours", str((costs[small] + loads + 1e-6) / 3600))
    assert "1 of 2 videos fit into" in said
    assert f"left: {large}: takes " in said
    after = fresh.runs()
    assert {place for place in after if after[place] != before[place]} == {("masks", small)}
    assert {step["video"] for step in fresh.plan()["steps"]} == {large}
