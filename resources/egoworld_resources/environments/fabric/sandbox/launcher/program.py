"""The program itself, up to the moment when it becomes the interpreter of the env."""

from __future__ import annotations

import os
import signal

from egoworld_resources.environments.fabric.sandbox.launcher import kernel, rights, root
from egoworld_resources.environments.fabric.sandbox.launcher.plan import MOUNT, Plan, Report

NOT_STARTED = 127


def become(plan: Plan, uid: int, report: Report) -> None:
    """Give up every right and start the interpreter; never returns."""
    try:
        os.setsid()
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        scratch, code = place(plan)
        os.chdir(scratch)
        rights.bound(plan)
        rights.give_up(plan, uid)
        kernel.die_with_parent(signal.SIGKILL)
        rights.filter_calls(plan)
        if plan["rehearsal"]:
            os._exit(0)
        for descriptor in plan["pass_fds"]:
            os.set_inheritable(descriptor, True)  # noqa: FBT003
        python = plan["python"]
        os.execve(python, [python, "-I", "-B", "-u", code], environment(plan, scratch))
    except PermissionError as error:
        report.tell("failed", f"{error} (an env and its interpreter must be readable by every user: umask 022)")
    except OSError as error:
        report.tell("failed", f"{error}")
    finally:
        os._exit(NOT_STARTED)


def place(plan: Plan) -> tuple[str, str]:
    """The working directory and the file of the code, as the program sees them."""
    if MOUNT in plan["allowed"]:
        return root.SCRATCH, root.CODE
    return plan["scratch"], "main.py"


def environment(plan: Plan, scratch: str) -> dict[str, str]:
    """All variables that the program gets."""
    temporary = "/tmp" if MOUNT in plan["allowed"] else scratch
    binaries = os.path.dirname(plan["python"])
    path = f"{binaries}:/usr/local/bin:/usr/bin:/bin"
    return {"PATH": path, "HOME": scratch, "TMPDIR": temporary, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
