"""Control groups made for one run: a limit that counts every page and process of the tree. Source: cgroups(7).

Version 2: a group below our own, or beside it, wherever the controller is passed on; version 1: below our own.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from typing import Self

from egoworld_resources.sandbox.means import MEMORY_GROUP, PROCESS_GROUP

MOUNTED = "/sys/fs/cgroup"
PREFIX = "egoworld-sandbox-"
CONTROLLERS = {MEMORY_GROUP: "memory", PROCESS_GROUP: "pids"}
KEPT_BY_US = 2
"""Processes in a group that are not the program's: bubblewrap outside and inside of the namespaces."""
HUGE_PAGE = 2 << 20
"""Bytes that may be free in a full group, because the last request was larger."""
PATIENCE_S = 2.0
"""Seconds for the kernel to see that a group is empty."""


class Group:
    """One group of one controller. Made by ``make``."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    @property
    def door(self) -> str:
        """A process that writes 0 into this file joins the group, and so does all that it starts."""
        return f"{self.folder}/cgroup.procs"

    def out_of_memory(self) -> int:
        """How many of its processes the kernel killed because the group had reached its limit, not one around it."""
        events = self._numbers("memory.events")
        if events:
            return events["oom_kill"] if events["oom"] else 0
        used, bound = (self._numbers(f"memory.{name}_in_bytes").get("", 0) for name in ("max_usage", "limit"))
        return self._numbers("memory.oom_control").get("oom_kill", 0) if used + HUGE_PAGE > bound else 0

    def _numbers(self, name: str) -> dict[str, int]:
        """The numbers in a file of the group, each by the word before it; empty if the file does not exist."""
        with contextlib.suppress(OSError), open(f"{self.folder}/{name}", encoding="ascii") as file:
            return {word: int(number) for word, _, number in (line.strip().rpartition(" ") for line in file)}
        return {}

    def remove(self) -> None:
        """Take the group away; one whose processes linger is left for ``sweep`` of a later run."""
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                os.rmdir(self.folder)
            except FileNotFoundError:
                return
            except OSError:
                if time.monotonic() > until:
                    return
                time.sleep(0.005)
            else:
                return


def new_name() -> str:
    """A name for the groups of one run of this process."""
    return f"{PREFIX}{secrets.token_hex(4)}-{os.getpid()}"


def make(means: str, bound: int, name: str, *, mounted: str = MOUNTED, own: str = "/proc/self/cgroup") -> Group:
    """A group that has a limit: bytes of memory, or processes. Raises OSError with the last reason when none can be."""
    controller = CONTROLLERS[means]
    reason = OSError(f"no control group of {controller}")
    for parent, version in _parents(controller, mounted, own):
        folder = f"{parent}/{name}"
        try:
            sweep(parent)
            os.makedirs(folder, exist_ok=True)
            limit(folder, version, means, bound)
        except OSError as error:
            reason = error
            Group(folder).remove()
        else:
            return Group(folder)
    raise reason


def limit(folder: str, version: int, means: str, bound: int) -> None:
    """Write the limit of a controller."""
    if means == PROCESS_GROUP:
        _write(f"{folder}/pids.max", str(bound + KEPT_BY_US))
    elif version == 2:
        _write(f"{folder}/memory.max", str(bound))
        _write(f"{folder}/memory.oom.group", "1")
        with contextlib.suppress(FileNotFoundError):  # a kernel without swap
            _write(f"{folder}/memory.swap.max", "0")
    else:
        _write(f"{folder}/memory.limit_in_bytes", str(bound))
        with contextlib.suppress(FileNotFoundError):  # swap is not counted on most systems
            _write(f"{folder}/memory.memsw.limit_in_bytes", str(bound))


def sweep(parent: str) -> None:
    """Remove groups of services that were killed before they could."""
    for name in os.listdir(parent):
        pid = name.rpartition("-")[2]
        if name.startswith(PREFIX) and pid.isdigit() and not os.path.exists(f"/proc/{pid}"):
            with contextlib.suppress(OSError):
                os.rmdir(f"{parent}/{name}")


def _parents(controller: str, mounted: str, own: str) -> list[tuple[str, int]]:
    """Folders in which a group of ``controller`` may be made, with the version."""
    found: list[tuple[str, int]] = []
    with open(own, encoding="utf-8") as file:
        lines = file.read().splitlines()
    for line in lines:
        number, names, path = line.split(":", 2)
        path = path.rstrip("/")
        if number == "0":
            folders = (f"{mounted}{path}", f"{mounted}{os.path.dirname(path)}".rstrip("/"))
            found += [(folder, 2) for folder in folders if controller in _words(f"{folder}/cgroup.subtree_control")]
        elif controller in names.split(","):
            folders = (f"{mounted}/{name}" for name in sorted({names, controller}))
            found += [(f"{folder}{path}", 1) for folder in folders if os.path.isdir(folder)]
    return found


def _words(path: str) -> list[str]:
    try:
        with open(path, encoding="ascii") as file:
            return file.read().split()
    except OSError:
        return []


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
