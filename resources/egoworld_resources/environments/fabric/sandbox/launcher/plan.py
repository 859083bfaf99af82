"""What the service tells the launcher, and what comes back: JSON lines, so that nothing of the service is inherited."""

from __future__ import annotations

import json
import os
from typing import TypedDict

OWN_UID, USER, PID, MOUNT, PROC, NETWORK, IPC, HOST = "uid", "user", "pid", "mount", "proc", "network", "ipc", "uts"
MEMORY_GROUP, PROCESS_GROUP, CALLS = "memory group", "process group", "seccomp"
ISOLATION = (OWN_UID, USER, PID, MOUNT, PROC, NETWORK, IPC, HOST, MEMORY_GROUP, PROCESS_GROUP, CALLS)
"""The means of keeping code apart, in the order in which they are told.

uid: a user id that nobody else has (we are root); user: a user namespace (we are not); proc: a /proc of nothing but the
code's own processes; memory group, process group: control groups with a limit; seccomp: the filter of system calls.
"""


class Plan(TypedDict):
    """One run. Descriptors are numbers in the launcher; allowed: the names of ISOLATION that are to be used.

    trees: folders that the code may read, [real folder, where it appears]; links: [link, what it
    says] on the way from the env's interpreter to its program. rehearsal: everything but the program.
    """

    parent: int
    report: int
    python: str
    env_folder: str
    trees: list[tuple[str, str]]
    links: list[tuple[str, str]]
    scratch: str
    pass_fds: list[int]
    allowed: list[str]
    timeout_s: float
    memory_bytes: int
    processes: int
    disk_bytes: int
    rehearsal: bool


class Report:
    """The way back. It closes when the program starts, so the program cannot write into it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def tell(self, fact: str, value: str | int) -> None:
        """One fact; short enough to be written in one piece."""
        os.write(self._descriptor, (json.dumps({fact: value}) + "\n").encode())
