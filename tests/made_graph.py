"""The whole graph without a model: a made-up env serves every stage that needs one, so that it runs in seconds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from egoworld_assets.cli.app import app

RUNNER = '''
"""Every stage of the graph without a model: few rows, of which some follow the hands."""

from egoworld_runner import Runner, tables


class Hands(Runner):
    writes = (tables.HandPose,)

    def run(self, clip, inputs, params):
        for frame in range(clip.start_frame, clip.end_frame):
            bent = frame % 7
            points = [[10.0 + joint + params["shift"], 20.0 + joint + bent * (joint > 9)] for joint in range(21)]
            yield tables.HandPose(frame, "right", 0.9, points)


class Detections(Runner):
    writes = (tables.Detection,)

    def run(self, clip, inputs, params):
        clip.nothing("nothing moves")
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
            yield tables.TrackPoint(1, row["frame"], 1.0, float(row["area"]), True, 2, "hand")


class Reconstructions(Runner):
    writes = (tables.CameraPose,)

    def run(self, clip, inputs, params):
        clip.nothing("the camera is not looked for")
        yield from ()


class ObjectPoses(Runner):
    writes = (tables.ObjectPose,)

    def run(self, clip, inputs, params):
        clip.nothing("no object was handled")
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


class Installation:
    """A home and a configuration in a folder; commands are processes of their own."""

    def __init__(self, folder: Path, source: str = RUNNER, **settings: float | str) -> None:
        self.folder = folder
        self.settings = settings
        self.runner = folder / "more" / "envs" / "quick" / "runner.py"
        self.runner.parent.mkdir(parents=True)
        self.runner.write_text(source, encoding="utf-8")
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

    @classmethod
    def copy_of(cls, made: Path, folder: Path) -> Installation:
        """Another one with the same settings, holding what ``made`` holds: the folder of one that nobody writes to."""
        other = cls(folder)
        shutil.copytree(made / "data", folder / "data", symlinks=True)
        return other

    def change(self, stage: str, name: str) -> str:
        """Give a parameter a value that it never had; returns the change in words."""
        old = self.params[stage][name]
        self.params[stage][name] = old + 1
        self.configure()
        return f"{name} {old} → {old + 1}"

    def configure(self) -> None:
        lines = [f'home = "{self.folder}/data"', f'extra_envs = ["{self.runner.parent.parent}"]']
        lines += [*(f"{name} = {json.dumps(value)}" for name, value in self.settings.items()), "[stages]"]
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
            timeout=900,
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
