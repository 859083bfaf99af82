"""Who the code is and what it may take: user, capabilities, limits of a process."""

from __future__ import annotations

import contextlib
import os
import resource

from egoworld_resources.environments.fabric.sandbox.launcher import calls, kernel
from egoworld_resources.environments.fabric.sandbox.launcher.plan import (
    CALLS,
    MEMORY_GROUP,
    NETWORK,
    OWN_UID,
    USER,
    Plan,
)
from egoworld_resources.environments.fabric.sandbox.launcher.watch import tasks_of

NOBODY = 65534
FIRST_OWN = 1 << 30
"""User ids from here on are given to runs, one each: far above those of people, systemd and containers."""
LAST_CAPABILITY = 63
OPEN_FILES = 4096
NICENESS = 5
"""A fork bomb within its bounds leaves the processor to the service."""


def own_uid() -> int:
    """A user id for one run: of this process's number where this user namespace has it, else that of nobody."""
    wanted = FIRST_OWN + os.getpid()
    with open("/proc/self/uid_map", encoding="ascii") as file:
        ranges = [tuple(int(number) for number in line.split()) for line in file]
    return wanted if any(first <= wanted < first + count for first, _outside, count in ranges) else NOBODY


def enter_user_namespace() -> None:
    """Become nobody in a user namespace of our own, with every right over what we make there and none outside."""
    uid, gid = os.geteuid(), os.getegid()
    kernel.unshare(kernel.CLONE_NEWUSER, USER)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{NOBODY} {uid} 1"), ("gid_map", f"{NOBODY} {gid} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def bound(plan: Plan) -> None:
    """Limits of every process of the code; the groups hold for all of them together."""
    os.nice(NICENESS)
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_MSGQUEUE, 0)
    _lower(resource.RLIMIT_NOFILE, OPEN_FILES)
    _lower(resource.RLIMIT_FSIZE, plan["disk_bytes"])
    _lower(resource.RLIMIT_NPROC, plan["processes"] + _others(plan))
    if MEMORY_GROUP not in plan["allowed"]:
        _lower(resource.RLIMIT_DATA, plan["memory_bytes"])


def give_up(plan: Plan, uid: int) -> None:
    """Keep no right that the service has: other user, no capabilities, none to be had by starting a program."""
    if OWN_UID in plan["allowed"] or USER in plan["allowed"]:
        with contextlib.suppress(OSError):
            for capability in range(LAST_CAPABILITY + 1):
                kernel.prctl(kernel.PR_CAPBSET_DROP, capability, "capability")
    if OWN_UID in plan["allowed"]:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    elif os.geteuid() == 0:
        raise OSError("code is never run as root, and this root may not change to another user (CAP_SETUID)")
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1, "prctl(PR_SET_NO_NEW_PRIVS)")


def filter_calls(plan: Plan) -> None:
    """Refuse what opens a way around the bounds; after no_new_privs."""
    if CALLS in plan["allowed"]:
        allowed = plan["allowed"]
        kernel.filter_calls(calls.program(network=NETWORK in allowed, counted=MEMORY_GROUP in allowed))


def _others(plan: Plan) -> int:
    """Tasks of the user that are not the code's: in a user namespace the launcher's two, else all there are."""
    if OWN_UID in plan["allowed"]:
        return 0
    return 2 if USER in plan["allowed"] else tasks_of(os.getuid()) - 1


def _lower(limit: int, value: int) -> None:
    hard = resource.getrlimit(limit)[1]
    lowered = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(limit, (lowered, lowered))
