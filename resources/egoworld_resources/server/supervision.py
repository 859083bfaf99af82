"""A look at the supervisor itself: whether it runs, answers, and is the one that the parts were started by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from egoworld_resources.server.ports import orphans
from egoworld_resources.server.supervisor import State, Supervisor

NAME = "supervisor"
AGAIN = "`make up` ends them and starts all again under a new one"


def fault(supervisor: Supervisor, states: Mapping[str, State], folder: Path) -> tuple[int, str]:
    """Its process number (0 for none), and what is wrong with it in words: "" when nothing is, or none is needed."""
    own = marked(folder)
    pid = supervisor.pid()
    if not states:
        if not own:
            return 0, ""  # all is down, or systemd or containers run the parts
        stands = supervisor.noted()
        why = f"process {stands} runs and does not answer" if stands else "it has ended"
        return 0, f"no supervisor ({why}), but parts run that nobody starts again: {listed(own)}; {AGAIN}"
    strays = [(name, process) for name, process in own if parent_of(process) != pid]
    if strays:
        return pid, f"parts run that another supervisor started: {listed(strays)}; {AGAIN}"
    if supervisor.noted() != pid:
        return pid, f"{supervisor.pid_file} names another process: what answers was not started by `make up`; {AGAIN}"
    return pid, ""


def marked(folder: Path) -> list[tuple[str, psutil.Process]]:
    """The processes that are parts of the server under ``folder``, each with its name."""
    return [(name, process) for name, found in orphans(folder).items() for process in found]


def listed(processes: Sequence[tuple[str, psutil.Process]]) -> str:
    """For people."""
    return ", ".join(f"{name} ({process.pid})" for name, process in processes)


def parent_of(process: psutil.Process) -> int:
    """The parent's number; 0 when the process has ended."""
    try:
        return process.ppid()
    except psutil.Error:
        return 0
