"""The means by which a program is kept apart, and what is lost where the kernel, the user or a container lacks one.

uid: a user id that nobody else has (we are root); user: a user namespace (we are not, or what is to be read is ours
alone); proc: a /proc of nothing but its own processes; memory group, process group: control groups with a limit;
seccomp: the filter of system calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

OWN_UID, USER, PID, MOUNT, PROC, NETWORK, IPC, HOST = "uid", "user", "pid", "mount", "proc", "network", "ipc", "uts"
MEMORY_GROUP, PROCESS_GROUP, CALLS = "memory group", "process group", "seccomp"
ISOLATION = (OWN_UID, USER, PID, MOUNT, PROC, NETWORK, IPC, HOST, MEMORY_GROUP, PROCESS_GROUP, CALLS)
"""In the order in which they are listed."""

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
NEEDS = {
    PID: (MOUNT,),
    PROC: (MOUNT, PID),
    NETWORK: (MOUNT,),
    IPC: (MOUNT,),
    HOST: (MOUNT,),
}
"""bubblewrap makes these together with a file system of the program's own."""


@dataclass(frozen=True)
class Capabilities:
    """allowed: means that are to be had here, of ISOLATION; missing: the others, with the reason; tool: by what."""

    allowed: tuple[str, ...]
    missing: Mapping[str, str]
    tool: str = ""

    def without(self, *names: str) -> Capabilities:
        """The same on a machine that does not allow ``names``."""
        taken = {name: "not to be used" for name in names if name in self.allowed}
        kept = tuple(name for name in self.allowed if name not in names)
        return Capabilities(kept, {**self.missing, **taken}, self.tool)

    def sentences(self) -> list[str]:
        """For people, at the start of a service: what keeps code apart, then a line for each means that is missing."""
        by = f" ({self.tool})" if self.tool else ""
        lines = [f"code runs apart by: {', '.join(self.allowed) or 'nothing but limits of a process'}{by}"]
        return lines + [f"no {name} ({why}): {LOST[name]}" for name, why in self.missing.items()]
