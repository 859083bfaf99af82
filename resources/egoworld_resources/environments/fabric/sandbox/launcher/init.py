"""Process 1 of the code's PID namespace: when it ends, the kernel ends everything in there."""

from __future__ import annotations

import os
import select
import signal
import struct
from _socket import AF_INET, SOCK_DGRAM, sethostname, socket  # the module socket takes longer to import than a launch
from fcntl import ioctl

from egoworld_resources.environments.fabric.sandbox.launcher import kernel, program, root
from egoworld_resources.environments.fabric.sandbox.launcher.groups import Group
from egoworld_resources.environments.fabric.sandbox.launcher.plan import HOST, IPC, MOUNT, NETWORK, Plan, Report

NAMESPACES = {
    MOUNT: kernel.CLONE_NEWNS,
    NETWORK: kernel.CLONE_NEWNET,
    IPC: kernel.CLONE_NEWIPC,
    HOST: kernel.CLONE_NEWUTS,
}
SIOCSIFFLAGS, IFF_UP_RUNNING = 0x8914, 0x41


def run(plan: Plan, code: bytes, uid: int, groups: list[Group], lifeline: int) -> None:
    """Make the surroundings, start the program, collect orphans until it ends; never returns."""
    report = Report(plan["report"])
    try:
        for group in groups:
            group.join()
        kernel.die_with_parent(signal.SIGKILL)
        if select.select([lifeline], [], [], 0)[0]:
            os._exit(1)
        die_first()
        surround(plan, code, uid)
        kernel.prctl(kernel.PR_SET_DUMPABLE, 0, "prctl(PR_SET_DUMPABLE)")
        child = os.fork()
        if child == 0:
            program.become(plan, uid, report)
        report.tell("status", _outlive(child))
    except OSError as error:
        report.tell("failed", f"{error}")
    finally:
        os._exit(0)


def die_first() -> None:
    """When the machine has no memory left, the kernel ends the code and not the service."""
    with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write("1000")


def surround(plan: Plan, code: bytes, uid: int) -> None:
    """The code's own network, host name and file system, as far as they are allowed."""
    for name, flag in NAMESPACES.items():
        if name in plan["allowed"]:
            kernel.unshare(flag, name)
    if NETWORK in plan["allowed"]:
        _loopback_up()
    if HOST in plan["allowed"]:
        sethostname("code")
    if MOUNT in plan["allowed"]:
        root.make(plan, code, uid)
    else:
        _leave_code(plan["scratch"], code, uid)


def _leave_code(scratch: str, code: bytes, uid: int) -> None:
    with open(f"{scratch}/main.py", "wb") as file:
        file.write(code)
    if uid != os.getuid():
        os.chown(scratch, uid, uid)


def _loopback_up() -> None:
    """127.0.0.1 answers within the code's own network: libraries talk to themselves over it."""
    any_socket = socket(AF_INET, SOCK_DGRAM)
    ioctl(any_socket.fileno(), SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP_RUNNING))
    any_socket.close()


def _outlive(child: int) -> int:
    """The child's status, as a shell would say it."""
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
