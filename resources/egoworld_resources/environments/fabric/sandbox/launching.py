"""Starting the launcher, and hearing from it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from egoworld_resources.environments.fabric.sandbox import launcher
from egoworld_resources.environments.fabric.sandbox.draining import Cancel, Stream, drain
from egoworld_resources.environments.fabric.sandbox.launcher.plan import Plan
from egoworld_resources.environments.fabric.sandbox.outcome import Bounds
from egoworld_resources.environments.fabric.sandbox.trees import links, trees

BOOT = f"""
import sys
name = {launcher.__name__!r}
while name:
    sys.modules[name] = type(sys)(name)
    sys.modules[name].__path__ = [sys.argv[1]]
    name = name.rpartition(".")[0]
from {launcher.__name__}.launch import main
main()
"""
"""Makes the launcher's package known by its folder, and those above it by name alone: none of them is loaded."""
GRACE_S = 10.0
"""Seconds after the timeout in which the launcher must have ended everything."""
PIPE_BYTES = 1 << 19
"""Less than the 1 MiB that any user may give a pipe (pipe-max-size); a flood is read with fewer turns."""
REPORT_BYTES = 1 << 16
KILLED = 128 + signal.SIGKILL


@dataclass(frozen=True)
class Job:
    """One run as the launcher needs it. rehearsal: all but the program itself."""

    python: Path
    code: bytes
    env_folder: Path
    scratch: Path
    bounds: Bounds
    allowed: Sequence[str]
    pass_fds: Sequence[int] = ()
    rehearsal: bool = False
    cancel: Cancel | None = None

    def resolved(self) -> Job:
        """With the real folder of the env: it appears under this name to the code too."""
        folder = self.env_folder.resolve()
        below = self.python.absolute()
        if below.is_relative_to(self.env_folder.absolute()):
            below = folder / below.relative_to(self.env_folder.absolute())
        return replace(self, python=below, env_folder=folder, scratch=self.scratch.resolve())

    def plan(self, report: int) -> Plan:
        return {
            "parent": os.getpid(),
            "report": report,
            "python": str(self.python),
            "env_folder": str(self.env_folder),
            "trees": trees(self.python, self.env_folder),
            "links": links(self.python),
            "scratch": str(self.scratch),
            "pass_fds": list(self.pass_fds),
            "allowed": list(self.allowed),
            "timeout_s": self.bounds.timeout_s,
            "memory_bytes": self.bounds.memory_bytes,
            "processes": self.bounds.processes,
            "disk_bytes": self.bounds.disk_bytes,
            "rehearsal": self.rehearsal,
        }


@dataclass(frozen=True)
class Told:
    """What the launcher reported. failed: why the code was not run, "" when it was."""

    stdout: Stream
    stderr: Stream
    status: int
    killed_for: str
    failed: str
    seconds: float


def launched(job: Job) -> Told:
    """Run a job by the launcher; nothing of it is left when this returns, however it returns."""
    job = job.resolved()
    out, err, report = Stream(job.bounds.output_bytes), Stream(job.bounds.output_bytes), Stream(REPORT_BYTES)
    reading, writing = os.pipe()
    began = time.monotonic()
    try:
        child = _start(job, writing)
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    assert child.stdout is not None
    assert child.stderr is not None
    with child.stdout, child.stderr, os.fdopen(reading, "rb"):
        try:
            pipes = {child.stdout.fileno(): out, child.stderr.fileno(): err, reading: report}
            ended = drain(pipes, began + job.bounds.timeout_s + GRACE_S, job.cancel)
        finally:
            _end(child)
    facts = {name: value for line in report.kept.splitlines() for name, value in json.loads(line).items()}
    cancelled = not ended and job.cancel is not None and job.cancel.is_set()
    whole = cancelled or (ended and "killed_for" in facts)
    lost = f"its launcher was killed or hangs, what it had started is gone: {out.text}{err.text}"[:500]
    failed = str(facts.get("failed", "" if whole else lost))
    status = int(facts.get("status", KILLED))
    killed_for = "cancelled" if cancelled else str(facts.get("killed_for", ""))
    if status == KILLED and facts.get("out of memory"):
        killed_for = "memory"
    return Told(out, err, status, killed_for, failed, time.monotonic() - began)


def _start(job: Job, report: int) -> subprocess.Popen[bytes]:
    with _memory_file(json.dumps(job.plan(report)).encode() + b"\n", job.code) as given:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", BOOT, *launcher.__path__],
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pipesize=PIPE_BYTES,
            cwd="/",
            env={"LANG": "C.UTF-8"},
            start_new_session=True,
            pass_fds=(report, *job.pass_fds),
        )


def _memory_file(*parts: bytes) -> IO[bytes]:
    """A file without a name that holds ``parts``, to be read from the start."""
    file = os.fdopen(os.memfd_create("plan"), "w+b")
    for part in parts:
        file.write(part)
    file.flush()
    file.seek(0)
    return file


def _end(child: subprocess.Popen[bytes]) -> None:
    """The launcher ends all that it started when it is told to; when it does not, its death is theirs."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
