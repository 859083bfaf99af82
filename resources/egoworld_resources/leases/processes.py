"""Which process is which, whatever the wall clock does.

A number says little: the kernel gives it to another process when the first is gone. A number together with the boot of
the machine and the tick at which the process started (proc(5), field 22 of /proc/PID/stat, counted from the boot) names
one process for ever. Wall-clock times do not: a clock that is set changes all of them.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Self

BOOT = Path("/proc/sys/kernel/random/boot_id")
ENDED = ("Z", "X", "x")
"""States of a process that runs no more and waits only for its parent to take notice."""


@dataclass(frozen=True)
class Identity:
    """One process of one machine. boot: of which start of the machine; ticks: when it started, since then."""

    host: str
    boot: str
    pid: int
    ticks: int

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """The process that has a number now; None when there is none, or it has ended."""
        ticks = start_ticks(pid)
        return None if ticks is None else cls(socket.gethostname(), boot(), pid, ticks)

    @classmethod
    def mine(cls) -> Self:
        """This process."""
        found = cls.of(os.getpid())
        assert found is not None
        return found

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """What ``str`` gave; None for anything else."""
        try:
            host, boot_id, pid, ticks = text.split()
            return cls(host, boot_id, int(pid), int(ticks))
        except ValueError:
            return None

    def __str__(self) -> str:
        return f"{self.host} {self.boot} {self.pid} {self.ticks}"

    @property
    def here(self) -> bool:
        """Whether it is a process of this machine: only then can its end be seen."""
        return self.host == socket.gethostname()

    @property
    def ended(self) -> bool:
        """Whether it is known to have ended. Of a process of another machine nothing is known."""
        return self.here and (self.boot != boot() or start_ticks(self.pid) != self.ticks)


def boot() -> str:
    """What tells this start of the machine from every other."""
    return BOOT.read_text(encoding="ascii").strip()


def start_ticks(pid: int) -> int | None:
    """When the process that has a number started, in ticks since the boot; None when there is none, or it has ended."""
    try:
        facts = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, *rest = facts.rpartition(")")[2].split()  # the name before it may hold spaces and parentheses
    return None if state in ENDED else int(rest[18])
