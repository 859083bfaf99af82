"""(k) The sandbox: what it adds to a step of a model, and to an empty program, both sides in turn."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from egoworld_resources.running.confinement import confinement
from egoworld_resources.sandbox import Bounds, capabilities, run_code
from egoworld_runner import keeper
from egoworld_runner.job import Job, VideoJob
from tests.benchmarks.measure import Measure
from tests.benchmarks.place import Place, middle
from tests.made_up import video

TURNS = 15
ALLOWED_MS = 50.0
RUNNER = '''
"""A model that does nothing."""

from egoworld_runner import Runner


class Idle(Runner):
    def run(self, clip, inputs, params):
        yield from ()
'''
BOUNDS = Bounds(timeout_s=60, memory_bytes=1 << 30, output_bytes=1 << 16, processes=64, disk_bytes=1 << 28)


def run(place: Place) -> Iterator[Measure]:
    place.say(f"sandbox: {', '.join(capabilities().allowed)}")
    folder = Path(tempfile.mkdtemp(dir=place.root))
    (folder / "model").mkdir()
    (folder / "model" / "runner.py").write_text(RUNNER)
    source = video(folder / "a.mp4")
    step = Step(folder, source)
    apart, bare = in_turn(1 if place.quick else TURNS, step.apart, step.bare)
    yield Measure(
        "k", "what the sandbox adds to a step of a model", apart - bare, ALLOWED_MS, "ms", "allowed", at_most=1.0
    )
    yield Measure("k", "a step of a model that does nothing", apart, bare, "ms", "without the sandbox")
    scratch = folder / "scratch"
    scratch.mkdir()
    own, plain = in_turn(1 if place.quick else TURNS, lambda: code(scratch), program)
    yield Measure("k", "an empty program as a code run", own, plain, "ms", "by the interpreter alone")


class Step:
    """A job of one clip, run as a step runs it, with and without the sandbox."""

    def __init__(self, folder: Path, source: Path) -> None:
        self._folder = folder
        self._source = source
        self._turn = 0

    def _job(self) -> tuple[Job, Path]:
        self._turn += 1
        output = self._folder / "out" / str(self._turn)
        job = Job("idle", str(self._folder / "model"), "runner:Idle", (VideoJob("v", str(self._source), str(output)),))
        given = self._folder / "job.json"
        job.write(given)
        return job, given

    def _keep(self, command: list[str], descriptors: tuple[int, ...] = ()) -> None:
        words = [sys.executable, "-I", "-S", keeper.__file__, str(os.getpid()), *command]
        subprocess.run(words, check=True, capture_output=True, pass_fds=descriptors)

    def _command(self, given: Path) -> list[str]:
        return [sys.executable, "-I", "-m", "egoworld_runner", "run", "--job", str(given)]

    def bare(self) -> None:
        _, given = self._job()
        self._keep([*self._command(given), "--parent", keeper.OWN_PID])

    def apart(self) -> None:
        job, given = self._job()
        work = self._folder / "work"
        confined = confinement(job, Path(sys.executable), work, given, gpu=False, network=False, memory=None)
        with confined.command(self._command(given), {"PATH": os.defpath}) as ready:
            self._keep(list(ready.argv), ready.descriptors)


def code(scratch: Path) -> None:
    env = Path(sys.prefix)
    run_code(Path(sys.executable), "", env_folder=env, scratch=scratch, bounds=BOUNDS)


def program() -> None:
    subprocess.run([sys.executable, "-I", "-B", "-c", ""], check=True)


def in_turn(turns: int, *sides: Callable[[], None]) -> list[float]:
    """Milliseconds of each side, the middle of the turns that each takes after the other."""
    taken: list[list[float]] = [[] for _ in sides]
    for _ in range(turns):
        for side, times in zip(sides, taken, strict=True):
            began = time.perf_counter()
            side()
            times.append(1000 * (time.perf_counter() - began))
    return [middle(times) for times in taken]
