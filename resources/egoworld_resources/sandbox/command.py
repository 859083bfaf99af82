"""The command line that runs a program apart: control groups, disk, bubblewrap, limits, user, and then the program.

    sh        joins the groups, and offers the program to the kernel as the first to kill for want of memory
    unshare   only for a program with a disk of its own: a mount namespace in which sh and mount(8) make it
    bwrap     namespaces, root file system, filter of system calls
    prlimit   limits of a process (in the new user namespace, where only the program's processes count)
    setpriv   only as root: becomes a user that nobody else is, without capabilities
    env       takes away the variable that bubblewrap sets by itself

Each becomes the next one, so what is started is one process and, inside, bubblewrap's init and the program. Where the
kernel grants no mounts, confine.py takes the place of all that follows the first sh.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from egoworld_resources.sandbox import calls, confine, groups
from egoworld_resources.sandbox.identity import NOBODY, own_uid
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
)
from egoworld_resources.sandbox.outcome import SandboxFailed
from egoworld_resources.sandbox.tools import bubblewrap, tool
from egoworld_resources.sandbox.walls import (
    NAMES,
    NETWORK_ETC,
    Walls,
    disk_mount_options,
    root_options,
    shown_options,
    temporary_options,
)

JOIN = """
echo 1000 > /proc/self/oom_score_adj 2> /dev/null
while [ "$1" != -- ]; do echo 0 > "$1" || exit 125; shift; done
shift
exec "$@"
"""
DISK = """
mount -t tmpfs -o "$1" tmpfs "$2" || exit 125
mkdir -m 1777 "$2/scratch" "$2/tmp" "$2/shm" || exit 125
shift 2
exec "$@"
"""
UNSHARE = {PID: "--unshare-pid", IPC: "--unshare-ipc", HOST: "--unshare-uts", NETWORK: "--unshare-net"}
RIGHTS_TO_CHANGE_USER = ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP")
OPEN_FILES = 4096
BUBBLEWRAPS_INIT = 1
"""A process that counts as the program's user in a user namespace."""


@dataclass(frozen=True)
class Limits:
    """What a program and all that it starts may take; None: no bound. file_bytes: of one file."""

    memory_bytes: int | None = None
    processes: int | None = None
    file_bytes: int | None = None
    disk_bytes: int = 1 << 30
    open_files: int | None = OPEN_FILES
    counted_memory: bool = False
    """Whether memory that no process has mapped is allowed where no group counts it."""


@dataclass(frozen=True)
class Prepared:
    """argv and descriptors to start; groups: its control groups; uid: who the program is outside."""

    argv: tuple[str, ...]
    descriptors: tuple[int, ...]
    groups: Sequence[groups.Group]
    uid: int


@contextmanager
def prepared(
    command: Sequence[str],
    environment: Mapping[str, str],
    walls: Walls,
    limits: Limits,
    allowed: Sequence[str],
    uid: int | None = None,
) -> Iterator[Prepared]:
    """What runs ``command`` by these means, with its groups, which are removed at the end.

    uid: the user to be, as root; by default one that nobody else is. Writable folders become that user's.
    Raises SandboxFailed when a means cannot be had.
    """
    _refuse_half(allowed)
    who = os.geteuid() if OWN_UID not in allowed else own_uid() if uid is None else uid
    with ExitStack() as stack:
        made = [stack.enter_context(group) for group in _groups(limits, allowed)]
        for folder in walls.writable if OWN_UID in allowed else ():
            os.chown(folder, who, who)
        descriptors = _Descriptors(stack)
        if MOUNT in allowed:
            rest = _bubblewrap(command, environment, walls, limits, allowed, who, descriptors)
        else:
            rest = _confined(command, environment, walls, limits, allowed, who, descriptors)
        doors = dict.fromkeys(group.door for group in made)
        argv = (tool("sh"), "-c", JOIN, "sh", *doors, "--", *rest)
        yield Prepared(argv, tuple(descriptors.numbers), made, who)


def used(walls: Walls, allowed: Sequence[str]) -> tuple[str, ...]:
    """The means that keep this program apart."""
    return tuple(name for name in allowed if not (name == NETWORK and walls.network))


def _refuse_half(allowed: Sequence[str]) -> None:
    for name in allowed:
        if lacking := [needed for needed in NEEDS.get(name, ()) if needed not in allowed]:
            raise SandboxFailed(f"unshare of the {name} namespace: it needs {', '.join(lacking)}")


class _Descriptors:
    """Files in memory that are read by number, closed with ``stack``."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.numbers: list[int] = []

    def holding(self, content: bytes) -> str:
        """The number of a new file that holds ``content``."""
        file = self._stack.enter_context(os.fdopen(os.memfd_create("sandbox"), "w+b"))
        file.write(content)
        file.flush()
        file.seek(0)
        self.numbers.append(file.fileno())
        return str(file.fileno())


def _groups(limits: Limits, allowed: Sequence[str]) -> Iterator[groups.Group]:
    name = groups.new_name()
    for means, bound in ((MEMORY_GROUP, limits.memory_bytes), (PROCESS_GROUP, limits.processes)):
        if means in allowed and bound is not None:
            try:
                yield groups.make(means, bound, name)
            except OSError as error:
                raise SandboxFailed(f"no {means}: {error}") from error


def _bubblewrap(
    command: Sequence[str],
    environment: Mapping[str, str],
    walls: Walls,
    limits: Limits,
    allowed: Sequence[str],
    who: int,
    descriptors: _Descriptors,
) -> list[str]:
    bwrap, _ = bubblewrap()
    options = [option for name, option in UNSHARE.items() if name in used(walls, allowed)]
    options += ["--hostname", "code"] if HOST in allowed else []
    options += ["--unshare-user", "--uid", str(NOBODY), "--gid", str(NOBODY)] if USER in allowed else []
    options += ["--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    if OWN_UID in allowed:
        options += [word for right in RIGHTS_TO_CHANGE_USER for word in ("--cap-add", right)]
    if CALLS in allowed:
        options += ["--seccomp", descriptors.holding(_filter(walls, limits, allowed))]
    options += root_options(walls)
    options += ["--proc", "/proc"] if PROC in allowed else ["--dir", "/proc"]
    if PROC in allowed and USER in allowed:
        # bubblewrap's init is the same user there: who wrote into its memory could outlive the service
        options += ["--perms", "0000", "--tmpfs", "/proc/1"]
    options += ["--dev", "/dev"]
    options += [word for device in walls.devices for word in ("--dev-bind", device, device)]
    options += temporary_options(walls)
    for path, content in _names(walls, NOBODY if USER in allowed else who).items():
        options += ["--perms", "0644", "--file", descriptors.holding(content), path]
    options += shown_options(walls)
    for path, content in walls.files.items():
        options += ["--perms", "0644", "--file", descriptors.holding(content), path]
    options += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", walls.cwd]
    # by --args, because everybody may read the command line of a process
    options += ["--clearenv", *(word for pair in environment.items() for word in ("--setenv", *pair))]
    text = b"\0".join(os.fsencode(word) for word in options) + b"\0"
    program = [*_limited(limits, allowed), *_as_user(who, allowed), *_without_ours(command)]
    rest = [bwrap, "--args", descriptors.holding(text), "--", *program]
    return rest if walls.disk is None else [*_with_disk(walls.disk, limits, allowed), *rest]


def _names(walls: Walls, uid: int) -> dict[str, bytes]:
    """Files of /etc that say who and where the program is; with the machine's network, its own names of hosts."""
    names = {f"/etc/{name}": text.format(uid=uid, home=walls.cwd).encode() for name, text in NAMES.items()}
    return {
        path: text for path, text in names.items() if not (walls.network and path.rpartition("/")[2] in NETWORK_ETC)
    }


def _with_disk(disk: Path, limits: Limits, allowed: Sequence[str]) -> list[str]:
    """What mounts a file system in memory on ``disk`` before bubblewrap starts, seen by nobody else."""
    entered = ["--user", "--map-root-user"] if USER in allowed else []
    unshare = [tool("unshare"), *entered, "--mount", "--propagation", "private"]
    return [*unshare, tool("sh"), "-c", DISK, "sh", disk_mount_options(limits.disk_bytes), str(disk)]


def _limited(limits: Limits, allowed: Sequence[str]) -> list[str]:
    ours = {"core": (resource.RLIMIT_CORE, 0), "msgqueue": (resource.RLIMIT_MSGQUEUE, 0)}
    ours |= {"nofile": (resource.RLIMIT_NOFILE, limits.open_files)} if limits.open_files is not None else {}
    ours |= {"fsize": (resource.RLIMIT_FSIZE, limits.file_bytes)} if limits.file_bytes is not None else {}
    if limits.processes is not None:
        ours |= {"nproc": (resource.RLIMIT_NPROC, limits.processes + (BUBBLEWRAPS_INIT if USER in allowed else 0))}
    if limits.memory_bytes is not None and MEMORY_GROUP not in allowed:
        ours |= {"data": (resource.RLIMIT_DATA, limits.memory_bytes)}
    return [tool("prlimit"), *(f"--{name}={lowered(*pair)}" for name, pair in ours.items())]


def lowered(limit: int, value: int) -> int:
    """A limit that is not above the one that we have."""
    hard = resource.getrlimit(limit)[1]
    return value if hard == resource.RLIM_INFINITY else min(value, hard)


def _as_user(who: int, allowed: Sequence[str]) -> list[str]:
    if OWN_UID not in allowed:
        return []
    identity = [f"--reuid={who}", f"--regid={who}", "--clear-groups"]
    return [tool("setpriv"), *identity, "--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all"]


def _without_ours(command: Sequence[str]) -> list[str]:
    """The program, without the variable that bubblewrap sets by itself."""
    if "=" in command[0]:
        raise SandboxFailed(f"{command[0]}: a program whose path has an = cannot be run apart; rename its folder")
    return [tool("env"), "-u", "PWD", *command]


def _filter(walls: Walls, limits: Limits, allowed: Sequence[str]) -> bytes:
    network = NETWORK in allowed or walls.network
    return calls.program(network=network, counted=MEMORY_GROUP in allowed or limits.counted_memory)


def _confined(
    command: Sequence[str],
    environment: Mapping[str, str],
    walls: Walls,
    limits: Limits,
    allowed: Sequence[str],
    who: int,
    descriptors: _Descriptors,
) -> list[str]:
    plan: confine.Plan = {
        "command": list(command),
        "environment": dict(environment),
        "cwd": walls.cwd,
        "uid": who if OWN_UID in allowed else None,
        "as_root": walls.as_root,
        "limits": {
            "core": 0,
            "msgqueue": 0,
            "nofile": limits.open_files,
            "fsize": limits.file_bytes,
            "nproc": limits.processes,
            "data": limits.memory_bytes if MEMORY_GROUP not in allowed else None,
        },
        "filter": _filter(walls, limits, allowed).hex() if CALLS in allowed else "",
    }
    number = descriptors.holding(json.dumps(plan).encode())
    return [sys.executable, "-I", "-S", confine.__file__, number]
