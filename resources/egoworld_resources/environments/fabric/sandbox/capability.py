"""What this kernel, this user and this container allow, found by rehearsing: asking /proc would only be a guess."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from egoworld_resources.environments.fabric.sandbox.launcher import calls
from egoworld_resources.environments.fabric.sandbox.launcher.plan import (
    CALLS,
    HOST,
    IPC,
    MEMORY_GROUP,
    MOUNT,
    NETWORK,
    OWN_UID,
    PID,
    PROC,
    PROCESS_GROUP,
    USER,
)
from egoworld_resources.environments.fabric.sandbox.launching import Job, launched
from egoworld_resources.environments.fabric.sandbox.outcome import Bounds

LOST = {
    OWN_UID: "code runs as the user of the service: it reads and signals whatever that user may",
    USER: "code runs as the user of the service: it reads and signals whatever that user may",
    PID: "code sees other processes; what it leaves behind is found by its descent and killed",
    MOUNT: "code sees the file system as its user may, its own env is not read-only, files are bounded one by one",
    PROC: "there is no /proc for code",
    NETWORK: "code has no network by the filter of system calls alone; it reaches Unix sockets",
    IPC: "code shares System V queues and semaphores with its user",
    HOST: "code sees the name of this machine",
    MEMORY_GROUP: "memory is bounded for each process (RLIMIT_DATA), and for all of them by looking 20 times a second",
    PROCESS_GROUP: "processes are bounded by RLIMIT_NPROC",
    CALLS: "no system call is refused",
}
NEEDS = {PROC: (PID, MOUNT)}
REHEARSAL = Bounds(timeout_s=10, memory_bytes=1 << 28, output_bytes=1 << 16, processes=16, disk_bytes=1 << 20)


@dataclass(frozen=True)
class Capabilities:
    """allowed: means by which code is kept apart here, of plan.ISOLATION; missing: the others, with the reason."""

    allowed: tuple[str, ...]
    missing: Mapping[str, str]

    def without(self, *names: str) -> Capabilities:
        """The same on a machine that does not allow ``names``."""
        taken = {name: "not to be used" for name in names if name in self.allowed}
        return Capabilities(tuple(name for name in self.allowed if name not in names), {**self.missing, **taken})

    def sentences(self) -> list[str]:
        """For people, at the start of a service: what keeps code apart, then a line for each means that is missing."""
        told = [f"code runs apart by: {', '.join(self.allowed) or 'nothing but limits of a process'}"]
        return told + [f"no {name} ({why}): {LOST[name]}" for name, why in self.missing.items()]


@cache
def capabilities() -> Capabilities:
    """What is allowed here; asked once, each means rehearsed together with those found before it."""
    identity = OWN_UID if os.geteuid() == 0 else USER
    allowed: list[str] = []
    missing: dict[str, str] = {}
    for name in (identity, PID, MOUNT, PROC, NETWORK, IPC, HOST, MEMORY_GROUP, PROCESS_GROUP, CALLS):
        lacking = [needed for needed in NEEDS.get(name, ()) if needed not in allowed]
        reason = f"it needs {', '.join(lacking)}" if lacking else _refusal([*allowed, name])
        if reason:
            missing[name] = reason
        else:
            allowed.append(name)
    return Capabilities(tuple(allowed), missing)


def _refusal(allowed: Sequence[str]) -> str:
    """Why a run by these means cannot be; "" when it can."""
    if CALLS in allowed and platform.machine() != calls.MACHINE:
        return f"the filter is written for {calls.MACHINE}"
    with tempfile.TemporaryDirectory(prefix="egoworld-rehearsal-") as scratch:
        here = Path(sys.prefix)
        job = Job(Path(sys.executable), b"", here, Path(scratch), REHEARSAL, allowed, rehearsal=True)
        return launched(job).failed
