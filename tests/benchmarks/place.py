"""Where benchmarks run: homes of their own beside the checkout's envs, generated videos, commands and their time."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from egoworld_resources.environments.checkout import checkout_uv
from egoworld_resources.sample import SampleOptions, is_rendered, render
from egoworld_resources.settings import PROJECT, Settings

ENVS = PROJECT / "data" / "envs"
"""Where `make envs` puts the model envs."""


@dataclass(frozen=True)
class Place:
    """One run of the benchmark. root: a folder for it alone; kept: generated videos, used again by the next run.

    quick: tiny sizes, to see that everything runs; its figures say nothing. turns: of both sides of the whole flow.
    """

    root: Path
    kept: Path
    quick: bool = False
    minutes: float = 10.0
    turns: int = 3

    def say(self, text: str) -> None:
        """Progress, on standard error: the table alone goes to standard output."""
        print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)

    def home(self, name: str) -> Path:
        """A new home folder with the checkout's model envs."""
        home = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.root))
        ENVS.mkdir(parents=True, exist_ok=True)
        (home / "envs").symlink_to(ENVS)
        return home

    def sample(self, seed: int, seconds: float, width: int = 640, height: int = 360, fps: int = 15) -> Path:
        """A generated sample video without its truth beside it."""
        path = self.kept / f"sample-{seed}-{seconds:g}s-{width}x{height}-{fps}.mp4"
        options = SampleOptions(seed, seconds, width, height, fps)
        if not is_rendered(path, options):
            self.say(f"rendering {path.name}")
            render(path, options)
        return path

    def copy(self, source: Path, folder: Path, name: str) -> Path:
        """A video under another name; bytes after the end of an MP4, which decoders skip, make it another video."""
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / name
        shutil.copyfile(source, target)
        with target.open("ab") as file:
            note = name.encode()
            file.write((8 + len(note)).to_bytes(4, "big") + b"free" + note)
        return target


def settings(home: Path, **more: object) -> Settings:
    """The configuration of a benchmark: that of nobody else."""
    uv = checkout_uv(PROJECT)
    return Settings.load(home=home, uv=uv.program, uv_cache=uv.cache, **more)


def environment(home: Path) -> dict[str, str]:
    """The same for a command of our own in another process; Python as it is, with its bytecode kept."""
    uv = checkout_uv(PROJECT)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("EGOWORLD_", "PYTHON"))}
    ours = {"EGOWORLD_HOME": str(home), "EGOWORLD_UV": str(uv.program), "EGOWORLD_UV_CACHE": str(uv.cache)}
    return {**kept, **ours, "EGOWORLD_CONFIG": str(home / "egoworld.toml"), "DAGSTER_DISABLE_TELEMETRY": "1"}


@dataclass(frozen=True)
class Took:
    """What a command took from start to end: seconds, and processor seconds of it and all processes that it ran."""

    seconds: float
    processor: float

    def __str__(self) -> str:
        return f"{self.seconds:.1f} s ({self.processor:.1f} s of processors)"


def ours(module: str, home: Path, *arguments: str | Path, more: Mapping[str, str] | None = None) -> tuple[Took, Any]:
    """Run a module of ours in a new process; returns what it took and what it printed as JSON. more: environment."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return timed(command, {**environment(home), **(more or {})})


def timed(command: Sequence[str | Path], env: dict[str, str] | None = None) -> tuple[Took, Any]:
    """Run a command; raises RuntimeError with its last words when it fails."""
    began, used = time.perf_counter(), of_children()
    done = subprocess.run(command, cwd=PROJECT, env=env, capture_output=True, text=True, check=False)
    took = Took(time.perf_counter() - began, of_children() - used)
    if done.returncode:
        raise RuntimeError(f"{command[:4]} ended with status {done.returncode}: {(done.stderr or done.stdout)[-1500:]}")
    return took, json.loads(done.stdout) if done.stdout.startswith(("{", "[")) else done.stdout


def of_children() -> float:
    """Processor seconds of all processes that ended below this one."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@contextmanager
def a_place(*, quick: bool, minutes: float, turns: int) -> Iterator[Place]:
    """A place below data/, on the partition of uv's cache, gone at the end."""
    kept = PROJECT / "data" / "bench"
    kept.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="run-", dir=kept) as root:
        yield Place(Path(root), kept, quick=quick, minutes=minutes, turns=turns)


def middle(values: Sequence[float]) -> float:
    """The median."""
    return float(median(values))
