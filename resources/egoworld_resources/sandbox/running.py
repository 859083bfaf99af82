"""Run one program apart, to its end or to the end of what it may take."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from egoworld_resources.sandbox import watch
from egoworld_resources.sandbox.capability import capabilities
from egoworld_resources.sandbox.command import Limits, Prepared, prepared, used
from egoworld_resources.sandbox.draining import Cancel, Stream, drain
from egoworld_resources.sandbox.means import MEMORY_GROUP, OWN_UID, PID, Capabilities
from egoworld_resources.sandbox.outcome import Bounds, Outcome, SandboxFailed
from egoworld_resources.sandbox.walls import Walls

GRACE_S = 10.0
"""Seconds after its end in which everything of a run must be gone."""
LOOK_S = 0.05
"""Seconds between looks at memory."""
NICENESS = 5
"""A fork bomb within its bounds leaves the processor to the service."""
PIPE_BYTES = 1 << 19
"""Less than the 1 MiB that any user may give a pipe (pipe-max-size); a flood is read with fewer turns."""
KILLED = 128 + signal.SIGKILL
NOT_STARTED = re.compile(r"(?:/\S+/)?(bwrap|unshare|mount|mkdir|sh|setpriv|prlimit|env|confine): ([^\n]*)\n?")
"""The message of a program in the start sequence that fails; it is then the whole output."""
NO_STATUS_OF_OURS = {0, KILLED}


def run(
    command: Sequence[str],
    *,
    walls: Walls,
    bounds: Bounds,
    environment: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
    means: Capabilities | None = None,
    cancel: Cancel | None = None,
) -> Outcome:
    """Run ``command`` (its first word an absolute path) isolated from the service by all means that are allowed here.

    environment: all variables that it gets. pass_fds: descriptors that it inherits: none of a folder, it would be a
    way out. means: those to use instead of ``capabilities()``. cancel: when it is set, the run ends at once, leaves
    nothing behind, and killed_for is "cancelled". Its standard input is empty.

    Raises SandboxFailed when it could not be run to its end; it is never run with fewer means than ``means``.
    """
    allowed = (means or capabilities()).allowed
    limits = Limits(bounds.memory_bytes, bounds.processes, bounds.disk_bytes, bounds.disk_bytes)
    began = time.monotonic()
    with prepared(command, environment or {}, walls, limits, allowed) as ready:
        out, err = Stream(bounds.output_bytes), Stream(bounds.output_bytes)
        status, killed_for = _run(_kept(ready, allowed), ready, pass_fds, bounds, {1: out, 2: err}, allowed, cancel)
        if not killed_for and not out.kept and status not in NO_STATUS_OF_OURS and not_started(err.text):
            raise SandboxFailed(_explained(err.text.strip(), allowed))
        if not killed_for and status == -signal.SIGKILL:
            raise SandboxFailed(f"its launcher was killed, what it had started is gone: {out.text}{err.text}"[:500])
    return Outcome(
        exit_code=KILLED if killed_for else status if status >= 0 else 128 - status,
        stdout=out.text,
        stderr=err.text,
        truncated=out.truncated or err.truncated,
        timed_out=killed_for == "timeout",
        killed_for=killed_for or _ran_out(status, err, allowed),
        seconds=time.monotonic() - began,
        isolation=used(walls, allowed),
    )


def not_started(output: str) -> bool:
    """Whether the whole output is a message of the start sequence."""
    return NOT_STARTED.fullmatch(output) is not None


def _explained(reason: str, allowed: Sequence[str]) -> str:
    if "ermission denied" in reason and OWN_UID in allowed:
        return f"{reason} (an env and its interpreter must be readable by every user: umask 022)"
    return reason


def _ran_out(status: int, err: Stream, allowed: Sequence[str]) -> str:
    """ "memory" when a Python program ended because the bound of each process refused it more."""
    last = err.text.rstrip().rpartition("\n")[2]
    return "memory" if status == 1 and MEMORY_GROUP not in allowed and last.startswith("MemoryError") else ""


def _kept(ready: Prepared, allowed: Sequence[str]) -> list[str]:
    """The command line, below a keeper where no PID namespace ends what the program leaves behind."""
    if PID in allowed:
        return list(ready.argv)
    return [*keeper(), *ready.argv]


def keeper() -> list[str]:
    """What starts a command and ends all that it leaves behind; it dies with this process."""
    spec = importlib.util.find_spec("egoworld_runner")
    folders = spec.submodule_search_locations if spec else None
    if not folders:
        raise SandboxFailed("the package egoworld_runner is not installed beside this one")
    return [sys.executable, "-I", "-S", str(Path(folders[0]) / "keeper.py"), str(os.getpid())]


def _run(
    argv: Sequence[str],
    ready: Prepared,
    pass_fds: Sequence[int],
    bounds: Bounds,
    streams: Mapping[int, Stream],
    allowed: Sequence[str],
    cancel: Cancel | None,
) -> tuple[int, str]:
    """The status of what was started, negative for a signal, and what it was killed for; nothing of it is left."""
    until = time.monotonic() + bounds.timeout_s
    child = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pipesize=PIPE_BYTES,
        cwd="/",
        env={"LANG": "C.UTF-8"},
        start_new_session=True,
        pass_fds=(*ready.descriptors, *pass_fds),
    )
    assert child.stdout is not None
    assert child.stderr is not None
    with child.stdout, child.stderr:
        try:
            with contextlib.suppress(ProcessLookupError):
                os.setpriority(os.PRIO_PROCESS, child.pid, NICENESS)
            looks = _Looks(child.pid, ready, bounds, allowed, cancel)
            pipes = {child.stdout.fileno(): streams[1], child.stderr.fileno(): streams[2]}
            reason = drain(pipes, until, looks)
            if reason:
                _end(child, allowed)
                drain(pipes, time.monotonic() + GRACE_S)
        finally:
            _end(child, allowed)
        if not reason and any(group.out_of_memory() for group in ready.groups):
            reason = "memory"
    return child.returncode, reason


class _Looks:
    """Why a run should end before it does by itself, "" while it should not."""

    def __init__(
        self, pid: int, ready: Prepared, bounds: Bounds, allowed: Sequence[str], cancel: Cancel | None
    ) -> None:
        self._pid = pid
        self._groups = ready.groups
        self._bound = bounds.memory_bytes
        self._counted = MEMORY_GROUP in allowed
        self._cancel = cancel
        self._next = 0.0

    def __call__(self) -> str:
        if self._cancel is not None and self._cancel.is_set():
            return "cancelled"
        if time.monotonic() < self._next:
            return ""
        self._next = time.monotonic() + LOOK_S
        if self._counted:
            return "memory" if any(group.out_of_memory() for group in self._groups) else ""
        return "memory" if watch.memory_of(self._pid, self._bound) > self._bound else ""


def _end(child: subprocess.Popen[bytes], allowed: Sequence[str]) -> None:
    """End a run and all that it started. The death of bubblewrap is theirs; a keeper ends them on request."""
    if child.poll() is not None:
        return
    if PID in allowed:
        child.kill()
        child.wait()
        return
    child.send_signal(signal.SIGINT)
    try:
        child.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
