"""Looking at a tree of processes from outside, through /proc."""

from __future__ import annotations

import contextlib
import os

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
    count in proportion (Pss), which takes the kernel longer to compute.
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
