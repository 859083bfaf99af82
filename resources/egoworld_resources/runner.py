"""Run a job in a model env: one supervised process group, restarted past a clip that kills it."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from egoworld_resources.errors import DiskFull, RunnerFailed
from egoworld_resources.store import naming_a_full_disk
from egoworld_runner import keeper
from egoworld_runner.execute import REPORT
from egoworld_runner.job import Job

Event = Mapping[str, Any]
OnEvent = Callable[[Event], None]

TERM_GRACE_S = 8.0
EXIT_PATIENCE_S = 60.0
"""Seconds that a runner whose output has ended gets for unloading its model."""
KEPT_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH")
SCRATCH_VARIABLES = ("EGOWORLD_SCRATCH", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
"""Where libraries leave caches and logs: in the scratch folder, gone with it."""
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "NO_ALBUMENTATIONS_UPDATE": "1"}
LEAN = {"ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "1"}
"""What a clip has freed serves the next one: Arrow's own allocator would keep it, and with an arena for each thread of
a model it would be of use to that thread alone, so that a runner grew from clip to clip."""


@dataclass(frozen=True)
class Process:
    """How to start the runner: interpreter, scratch folder (its working directory), GPU, descriptors to inherit.

    silence_s: seconds without an event after which it counts as hung; memory: bytes it may have.
    """

    python: Path
    scratch: Path
    gpu: int | None = None
    descriptors: Sequence[int] = ()
    silence_s: float = 900.0
    memory: int | None = None

    def environment(self) -> dict[str, str]:
        """Only what a model needs; no secret of ours is passed on."""
        kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
        visible = "" if self.gpu is None else str(self.gpu)
        own = {name: str(self.scratch) for name in SCRATCH_VARIABLES}
        return {**kept, **OFFLINE, **LEAN, **own, "CUDA_VISIBLE_DEVICES": visible}


def run_job(job: Job, process: Process, on_event: OnEvent) -> int:
    """Run every clip of a job; returns how often the model was loaded.

    A clip during which the runner dies or falls silent is reported as failed and the rest goes on in a new process. One
    that was killed from outside gets a second try first: whoever did it may have meant something else.
    Raises RunnerFailed when the runner cannot start, when the model cannot be set up, or when the job is refused, and
    DiskFull when there is no space for what it writes.
    """
    path = process.scratch / "job.json"
    with naming_a_full_disk(process.scratch):
        job.write(path)
    loads = 0
    killed: set[tuple[str, str] | None] = set()
    while True:
        attempt = _Attempt(job, path, process, on_event)
        attempt.run()
        loads += attempt.loaded
        if attempt.status == 0 and attempt.unit is None:
            return loads
        if attempt.disk_full:
            raise DiskFull(f"{job.stage}: {attempt.error}; free some, then run it again")
        if attempt.error:
            raise RunnerFailed(
                f"{job.stage}: the runner gave up: {attempt.error} (log: {process.scratch / 'runner.log'})"
            )
        if attempt.killed and attempt.unit not in killed:
            killed.add(attempt.unit)
            continue
        if attempt.unit is None:
            raise RunnerFailed(f"{job.stage}: the runner {attempt.ending()} before any clip; {_tail(process.scratch)}")
        _report_death(job, attempt.unit, f"the runner {attempt.ending()} during this clip; {_tail(process.scratch)}")
        on_event({"event": "clip", "video": attempt.unit[0], "unit": attempt.unit[1], "state": "failed"})


class _Attempt:
    """One runner process from start to end."""

    def __init__(self, job: Job, path: Path, process: Process, on_event: OnEvent) -> None:
        self._job = job
        self._path = path
        self._process = process
        self._on_event = on_event
        self.status = 0
        self.loaded = 0
        self.error = ""
        self.disk_full = False
        self.silent = False
        self.unit: tuple[str, str] | None = None

    def run(self) -> None:
        command = [str(self._process.python), "-I", "-m", "egoworld_runner", "run", "--job", str(self._path)]
        if self._process.memory is not None:
            command += ["--memory", str(self._process.memory)]
        with (self._process.scratch / "runner.log").open("ab") as log:
            child = subprocess.Popen(
                [sys.executable, "-I", "-S", keeper.__file__, str(os.getpid()), *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=self._process.scratch,
                env=self._process.environment(),
                start_new_session=True,
                pass_fds=tuple(self._process.descriptors),
            )
            ended = False
            try:
                assert child.stdout is not None
                for event in self._events(child.stdout):
                    self._note(event)
                    self._on_event(event)
                ended = not self.silent
            finally:
                self.status = end_group(child, EXIT_PATIENCE_S if ended else 0.0)

    def _events(self, pipe: IO[bytes]) -> Iterator[Event]:
        pending = b""
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            while True:
                if not selector.select(self._process.silence_s):
                    self.silent = True
                    return
                block = os.read(pipe.fileno(), 1 << 16)
                if not block:
                    return
                *lines, pending = (pending + block).split(b"\n")
                yield from (json.loads(line) for line in lines)

    def _note(self, event: Event) -> None:
        match event["event"]:
            case "loaded":
                self.loaded = 1
            case "start":
                self.unit = (event["video"], event["unit"])
            case "clip":
                self.unit = None
            case "error":
                self.error, self.disk_full = event["reason"], event.get("disk_full", False)
            case _:
                pass

    @property
    def killed(self) -> bool:
        """Whether somebody else ended it: a person, a service manager, or the kernel when memory is short."""
        return not self.silent and self.status in (-signal.SIGKILL, -signal.SIGTERM, 128 + signal.SIGTERM)

    def ending(self) -> str:
        """How the process ended, in words."""
        if self.silent:
            return f"said nothing for {self._process.silence_s:g} s and was ended"
        if self.status < 0:
            name = signal.Signals(-self.status).name
            return f"was killed by {name}" + (" (is memory short?)" if name == "SIGKILL" else "")
        return f"ended with status {self.status}"


def end_group(child: subprocess.Popen[bytes], patience_s: float) -> int:
    """Give a child ``patience_s`` to end by itself, then TERM and KILL its whole group; returns its exit status."""
    _wait(child, patience_s)
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            break
        _wait(child, TERM_GRACE_S)
    if child.stdout is not None:
        child.stdout.close()
    return child.wait()


def _wait(child: subprocess.Popen[bytes], seconds: float) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(timeout=seconds)


def _report_death(job: Job, unit: tuple[str, str], reason: str) -> None:
    video, name = unit
    output = next(Path(v.output) for v in job.videos if v.video == video)
    partial, final = output / f".{name}.partial", output / name
    partial.mkdir(parents=True, exist_ok=True)
    for leftover in partial.iterdir():
        if leftover.is_file():
            leftover.unlink()
    report = {"clip_id": name, "state": "failed", "reason": reason, "trace": "", "seconds": 0.0}
    (partial / REPORT).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    partial.rename(final)


def _tail(scratch: Path, lines: int = 5, length: int = 2000) -> str:
    with (scratch / "runner.log").open("rb") as log:
        log.seek(max(0, log.seek(0, os.SEEK_END) - length))
        last = log.read().decode("utf-8", "replace").splitlines()[-lines:]
    return f"its last words: {' | '.join(last)}" if last else "it said nothing"
