"""A small process between a job's caller and the runner: no process that a model starts outlives it.

``python -I -S keeper.py PARENT COMMAND...`` runs COMMAND, in which a word {keeper} stands for the keeper's own pid, and
ends as it ends. It adopts whatever the runner's children leave behind (PR_SET_CHILD_SUBREAPER, prctl(2)), also those
that call setsid, and kills all of it when the runner is gone, when it is asked to end (SIGTERM: after a while; SIGINT:
at once), or when PARENT dies. Standard library only: it is started by path, without site-packages, and stays small.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import FrameType

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
OWN_PID = "{keeper}"
GRACE_S = 5.0
"""Seconds that the runner gets after SIGTERM; it ends itself within 4."""


def descendants(root: int) -> list[int]:
    """Pids of all processes below ``root``, from /proc."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError):
                fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
                if fields[0] != "Z":
                    children.setdefault(int(fields[1]), []).append(int(entry.name))
    found: list[int] = []
    waiting = [root]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def kill_all_below(root: int) -> None:
    """SIGKILL to every process below ``root``: all are stopped first, so that none can have children meanwhile."""
    while pids := descendants(root):
        stopped: set[int] = set()
        while new := set(pids) - stopped:
            _signal(new, signal.SIGSTOP)
            stopped |= new
            pids = descendants(root)
        _signal(stopped, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _signal(pids: set[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def adopt(parent: int) -> None:
    """Get SIGTERM when ``parent`` dies, and become the parent of orphans below us; exit at once if it is dead."""
    prctl = ctypes.CDLL(None).prctl
    prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    if os.getppid() != parent:
        sys.exit(128 + signal.SIGTERM)


def main(parent: int, command: list[str]) -> int:
    adopt(parent)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    words = [str(os.getpid()) if word == OWN_PID else word for word in command]
    child = subprocess.Popen(words, close_fds=False)

    def pass_on(_number: int, _frame: FrameType | None) -> None:
        child.terminate()
        killer = threading.Timer(GRACE_S, child.kill)
        killer.daemon = True
        killer.start()

    def end_now(_number: int, _frame: FrameType | None) -> None:
        child.kill()

    signal.signal(signal.SIGTERM, pass_on)
    signal.signal(signal.SIGINT, end_now)
    status = child.wait()
    kill_all_below(os.getpid())
    if status < 0:
        signal.signal(-status, signal.SIG_DFL) if -status not in (signal.SIGKILL, signal.SIGSTOP) else None
        os.kill(os.getpid(), -status)
    return status


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
