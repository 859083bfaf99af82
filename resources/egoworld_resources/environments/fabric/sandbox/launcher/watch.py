"""Looking at a tree of processes from outside, through /proc, and ending it."""

from __future__ import annotations

import contextlib
import os
import signal

KIB = 1024


def below(root: int) -> list[int]:
    """Pids of the processes below ``root``."""
    children: dict[int, list[int]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError, IndexError), open(f"/proc/{name}/stat", "rb") as file:
            state, parent = file.read().rpartition(b")")[2].split()[:2]
            if state not in (b"Z", b"X"):
                children.setdefault(int(parent), []).append(int(name))
    found: list[int] = []
    waiting = [root]
    while waiting:
        own = children.get(waiting.pop(), [])
        found += own
        waiting += own
    return found


def memory_of(root: int, bound: int) -> int:
    """Bytes of memory that the processes below ``root`` have, without files that could be read again.

    Pages that a process shares with its children count once for each, unless the sum is above ``bound``: then they
    count in proportion (Pss), which takes the kernel longer to tell.
    """
    pids = below(root)
    total = sum(_sum(f"/proc/{pid}/status", b"RssAnon:", b"RssShmem:") for pid in pids)
    if total > bound:
        exact = sum(_sum(f"/proc/{pid}/smaps_rollup", b"Pss_Anon:", b"Pss_Shmem:") for pid in pids)
        return exact or total
    return total


def _sum(path: str, *fields: bytes) -> int:
    with contextlib.suppress(OSError), open(path, "rb") as file:
        return sum(int(line.split()[1]) * KIB for line in file if line.startswith(fields))
    return 0


def end_below(root: int) -> None:
    """Kill every process below ``root``: all are stopped first, so that none can have children meanwhile."""
    while pids := below(root):
        stopped: set[int] = set()
        while new := set(pids) - stopped:
            _signal(new, signal.SIGSTOP)
            stopped |= new
            pids = below(root)
        _signal(stopped, signal.SIGKILL)
        collect()


def collect() -> dict[int, int]:
    """Statuses of our children that have ended, by pid."""
    ended: dict[int, int] = {}
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            ended[pid] = status
    return ended


def tasks_of(uid: int) -> int:
    """Processes and threads of a user."""
    count = 0
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if os.stat(f"/proc/{name}").st_uid == uid:
                count += len(os.listdir(f"/proc/{name}/task"))
    return count


def _signal(pids: set[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
