"""The keeper: between the service and the code, outside all namespaces, where the clock and the limits are."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time

from egoworld_resources.environments.fabric.sandbox.launcher import groups, init, kernel, rights, watch
from egoworld_resources.environments.fabric.sandbox.launcher.groups import Group
from egoworld_resources.environments.fabric.sandbox.launcher.plan import (
    MEMORY_GROUP,
    OWN_UID,
    PID,
    PROCESS_GROUP,
    USER,
    Plan,
    Report,
)

LOOK_S = 0.05
"""Seconds between looks at the memory of the tree, where no group counts it."""
WOKEN_BY = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def main() -> None:
    """Read the plan from the standard input, run the code, report."""
    with os.fdopen(0, "rb", closefd=False) as given:
        plan: Plan = json.loads(given.readline())
        code = given.read()
    report = Report(plan["report"])
    try:
        prepare(plan)
        keep(plan, code, report)
    except OSError as error:
        report.tell("failed", f"{error}")
        sys.exit(1)


def prepare(plan: Plan) -> None:
    """Depend on the service, hold nothing of it but the descriptors to pass on."""
    kernel.die_with_parent(signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_BLOCK, WOKEN_BY)
    if os.getppid() != plan["parent"]:
        sys.exit(128 + signal.SIGTERM)
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    for descriptor in (plan["report"], *plan["pass_fds"]):
        os.set_inheritable(descriptor, False)  # noqa: FBT003
    os.umask(0o022)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1, "prctl(PR_SET_CHILD_SUBREAPER)")


def keep(plan: Plan, code: bytes, report: Report) -> None:
    """Run the code in its groups and namespaces, and leave nothing of it."""
    allowed = plan["allowed"]
    own = [groups.make(means, plan) for means in (MEMORY_GROUP, PROCESS_GROUP) if means in allowed]
    try:
        uid = rights.own_uid() if OWN_UID in allowed else os.geteuid()
        if USER in allowed:
            rights.enter_user_namespace()
            uid = rights.NOBODY
        child = _start(plan, code, uid, own)
        killed_for = _wait(plan, child)
        watch.end_below(os.getpid())
        if not killed_for and sum(group.out_of_memory() for group in own):
            report.tell("out of memory", 1)
        report.tell("killed_for", killed_for)
    finally:
        for group in own:
            group.remove()


def _start(plan: Plan, code: bytes, uid: int, own: list[Group]) -> int:
    lifeline, held = os.pipe()
    if PID in plan["allowed"]:
        kernel.unshare(kernel.CLONE_NEWPID, PID)
    child = os.fork()
    if child == 0:
        os.close(held)
        init.run(plan, code, uid, own, lifeline)
    os.close(lifeline)
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0, "prctl(PR_SET_DUMPABLE)")
    return child


def _wait(plan: Plan, child: int) -> str:
    """Until init has ended; what it was killed for, "" when it ended by itself."""
    until = time.monotonic() + plan["timeout_s"]
    looks = MEMORY_GROUP not in plan["allowed"]
    while True:
        left = max(0.0, until - time.monotonic())
        woken = signal.sigtimedwait(WOKEN_BY, min(left, LOOK_S) if looks else left)
        if child in watch.collect():
            return ""
        if woken is not None and woken.si_signo != signal.SIGCHLD:
            reason = "service"
        elif time.monotonic() >= until:
            reason = "timeout"
        elif looks and watch.memory_of(os.getpid(), plan["memory_bytes"]) > plan["memory_bytes"]:
            reason = "memory"
        else:
            continue
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return reason
