"""Becomes a program with fewer rights, where the kernel grants no mounts: ``python -I -S confine.py PLAN``.

PLAN is the number of a descriptor to read a Plan from. Standard library only, here, and little of it: it is started
for every program.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
from typing import TypedDict

PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 22, 24, 38
FILTER_MODE = 2
LAST_CAPABILITY = 63
NOT_STARTED = 125
LIMITS = {
    "core": resource.RLIMIT_CORE,
    "msgqueue": resource.RLIMIT_MSGQUEUE,
    "nofile": resource.RLIMIT_NOFILE,
    "fsize": resource.RLIMIT_FSIZE,
    "nproc": resource.RLIMIT_NPROC,
    "data": resource.RLIMIT_DATA,
}


class Plan(TypedDict):
    """uid: the user to become, None to stay; as_root: whether root may stay; limits: None for those that are left;
    filter: seccomp's, as hex."""

    command: list[str]
    environment: dict[str, str]
    cwd: str
    uid: int | None
    as_root: bool
    limits: dict[str, int | None]
    filter: str


def become(plan: Plan) -> None:
    """Drop every privilege that can be dropped and start the program; never returns."""
    os.setsid()
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    os.chdir(plan["cwd"])
    libc = ctypes.CDLL(None, use_errno=True)
    others = 0 if plan["uid"] is not None else tasks_of(os.getuid()) - 1
    for name, value in plan["limits"].items():
        if value is not None:
            _lower(LIMITS[name], value + others if name == "nproc" else value)
    if plan["uid"] is not None:
        for capability in range(LAST_CAPABILITY + 1):
            libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
        os.setgroups([])
        os.setresgid(plan["uid"], plan["uid"], plan["uid"])
        os.setresuid(plan["uid"], plan["uid"], plan["uid"])
    elif os.geteuid() == 0 and not plan["as_root"]:
        raise OSError("nothing is run as root here, and this root may not change to another user (CAP_SETUID)")
    _prctl(libc, PR_SET_NO_NEW_PRIVS, 1)
    if plan["filter"]:
        _filter_calls(libc, bytes.fromhex(plan["filter"]))
    os.execve(plan["command"][0], plan["command"], plan["environment"])


def _lower(limit: int, value: int) -> None:
    hard = resource.getrlimit(limit)[1]
    lowered = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(limit, (lowered, lowered))


def _prctl(libc: ctypes.CDLL, option: int, first: int, second: ctypes.c_void_p | int = 0) -> None:
    if libc.prctl(option, ctypes.c_ulong(first), second, ctypes.c_ulong(0), ctypes.c_ulong(0)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}): {os.strerror(number)}")


def _filter_calls(libc: ctypes.CDLL, program: bytes) -> None:
    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]

    filled = Program(len(program) // 8, program)
    _prctl(libc, PR_SET_SECCOMP, FILTER_MODE, ctypes.c_void_p(ctypes.addressof(filled)))


def tasks_of(uid: int) -> int:
    """Processes and threads of a user."""
    count = 0
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.stat(f"/proc/{name}").st_uid == uid:
                count += len(os.listdir(f"/proc/{name}/task"))
        except OSError:
            continue
    return count


def main(number: int) -> None:
    with os.fdopen(number, "rb") as file:
        plan: Plan = json.load(file)
    try:
        become(plan)
    except OSError as error:
        print(f"confine: {error}", file=sys.stderr)
        sys.exit(NOT_STARTED)


if __name__ == "__main__":
    main(int(sys.argv[1]))
