"""A made-up model env and tiny videos: what a stranger adds to egoworld, in a temporary folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import av
import numpy as np

from egoworld_resources.artifacts.stage import Stage
from egoworld_resources.making.workbench import Workbench
from egoworld_resources.settings import Settings

PYPROJECT = """
[project]
name = "egoworld-{name}"
version = "0"
requires-python = ">=3.11"
dependencies = []

[tool.egoworld]
interpreter = "base"

[tool.egoworld.stages.{stage}]
runner = "runner:{kind}"
device = "cpu"
licence = "CC0-1.0"
label = "made-up"

[tool.egoworld.stages.{stage}.params]
{params}
"""
PARAMS = {"level": 0.0, "crash": ""}

RUNNER = '''
"""Mean brightness of every frame."""

import os
import signal
import time
from dataclasses import dataclass

from egoworld_runner import ClipFailed, Runner
from egoworld_runner.tables import Int, Real, Row


@dataclass(frozen=True)
class Brightness_(Row):
    table = "brightness"
    frame: Int
    level: Real


class Brightness(Runner):
    writes = (Brightness_,)

    def run(self, clip, inputs, params):
        if clip.start_frame > 0 and params["crash"]:
            self.crash(params["crash"])
        for frame in clip.frames():
            if frame.rgb.mean() >= params["level"]:
                yield Brightness_(frame.index, float(frame.rgb.mean()))
            clip.progress(frame.index)

    def crash(self, how):
        if how == "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        if how == "hang":
            time.sleep(600)
        if how == "refuse":
            raise ClipFailed("too dark; switch on the light")
        if how == "exit":
            os._exit(3)
        marker = os.path.join(os.environ["TMPDIR"], "killed")
        if how == "killed" or (how == "killed once" and not os.path.exists(marker)):
            open(marker, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
'''

BRIGHTNESS = Stage("brightness", env="dimmer", inputs=("videos", "clips"))


def add_env(
    envs: Path,
    name: str = "dimmer",
    kind: str = "Brightness",
    source: str = RUNNER,
    params: Mapping[str, str | int | float] = PARAMS,
) -> Path:
    """Write a made-up env below ``envs`` whose runner ``kind`` serves the stage of that name; returns its folder."""
    env = envs / name
    env.mkdir(parents=True)
    given = "\n".join(f"{param} = {json.dumps(value)}" for param, value in params.items())
    declared = PYPROJECT.format(name=name, stage=kind.lower(), kind=kind, params=given)
    (env / "pyproject.toml").write_text(declared, encoding="utf-8")
    (env / "runner.py").write_text(source, encoding="utf-8")
    return env


def workbench(home: Path, **settings: object) -> Workbench:
    """A workbench below ``home`` that knows the made-up env beside the project's own."""
    envs = home / "more" / "envs"
    if not envs.exists():
        add_env(envs)
    return Workbench(Settings.load(home=home / "data", extra_envs=(envs,), **settings))


def video(path: Path, shots: tuple[int, ...] = (12, 12), size: tuple[int, int] = (64, 48), rate: int = 10) -> Path:
    """A video of flat, differently lit shots with a little texture: as many frames a shot as given."""
    rng = np.random.default_rng(7)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"g": "6"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for number, frames in enumerate(shots):
            picture = rng.integers(0, 60, (size[1], size[0], 3), dtype=np.uint8) + np.uint8(170 * (number % 2))
            for _ in range(frames):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path
