"""What this kernel, this user and this container allow, found by rehearsing: asking /proc would only be a guess."""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from egoworld_resources.sandbox import calls
from egoworld_resources.sandbox.means import (
    CALLS,
    HOST,
    IPC,
    MEMORY_GROUP,
    MOUNT,
    NEEDS,
    NETWORK,
    OWN_UID,
    PID,
    PROC,
    PROCESS_GROUP,
    USER,
    Capabilities,
)
from egoworld_resources.sandbox.outcome import Bounds, SandboxFailed
from egoworld_resources.sandbox.tools import bubblewrap, tool
from egoworld_resources.sandbox.walls import Walls

REHEARSAL = Bounds(timeout_s=20, memory_bytes=1 << 28, output_bytes=1 << 16, processes=16, disk_bytes=1 << 20)


@cache
def capabilities() -> Capabilities:
    """What is allowed here; tested once, each means together with those found before it."""
    return _found(OWN_UID if os.geteuid() == 0 else USER)


@cache
def shared_capabilities() -> Capabilities:
    """The same for programs that must read what only the service's own user may: as root, by a user namespace too."""
    return _found(USER)


def _found(identity: str) -> Capabilities:
    steps: list[tuple[str, ...]] = [(identity,), (MOUNT,)] if identity == OWN_UID else [(USER, MOUNT)]
    steps += [(name,) for name in (PID, PROC, NETWORK, IPC, HOST, MEMORY_GROUP, PROCESS_GROUP, CALLS)]
    allowed: list[str] = []
    missing: dict[str, str] = {}
    for names in steps:
        lacking = [needed for name in names for needed in NEEDS.get(name, ()) if needed not in (*allowed, *names)]
        reason = f"unshare of the {names[0]} namespace: it needs {', '.join(lacking)}" if lacking else ""
        reason = reason or _refusal([*allowed, *names])
        if reason:
            missing.update(dict.fromkeys(names, f"unshare of the {names[0]} namespace: {reason}"))
        else:
            allowed += names
    return Capabilities(tuple(allowed), missing, _tool() if MOUNT in allowed else "")


def _refusal(allowed: Sequence[str]) -> str:
    """Why a run by these means cannot be; "" when it can."""
    from egoworld_resources.sandbox.running import run

    if CALLS in allowed and platform.machine() != calls.MACHINE:
        return f"the filter is written for {calls.MACHINE}"
    with tempfile.TemporaryDirectory(prefix="egoworld-rehearsal-") as disk:
        walls = Walls(disk=Path(disk) if MOUNT in allowed else None)
        try:
            done = run([tool("true")], walls=walls, bounds=REHEARSAL, means=Capabilities(tuple(allowed), {}))
        except (SandboxFailed, OSError) as error:
            return f"{error}"
    return "" if done.exit_code == 0 else f"the rehearsal ended with {done.exit_code} {done.killed_for}{done.stderr}"


def _tool() -> str:
    path, version = bubblewrap()
    return f"bubblewrap {version}, {path}"
