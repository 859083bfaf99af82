"""The means of the kernel by which models are kept and ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

from egoworld_resources.doctor.asking import ask
from egoworld_resources.doctor.finding import Finding, Subject, check, fault, not_needed, ok, warning
from egoworld_resources.environments.contract import contract_folder

LEAVES_AN_ORPHAN = """
import subprocess, sys
sleeper = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"]
quiet = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
print(subprocess.Popen(sleeper, start_new_session=True, **quiet).pid)
"""

TRIES_NAMESPACES = """
import ctypes, json, os
libc, answers = ctypes.CDLL(None, use_errno=True), {}
for name, flag in {"user": 0, "pid": 0x20000000, "mount": 0x00020000, "network": 0x40000000}.items():
    child = os.fork()
    if child == 0:
        os._exit(ctypes.get_errno() if libc.unshare(0x10000000 | flag) else 0)
    answers[name] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(json.dumps(answers))
"""


@check("ending models")
def ending_models(subject: Subject) -> Iterator[Finding]:
    """Whether the keeper of runners really ends what a model leaves behind, as this kernel has it (prctl, /proc)."""
    keeper = [sys.executable, "-I", "-S", contract_folder() / "keeper.py", str(os.getpid())]
    done = ask([*keeper, sys.executable, "-I", "-S", "-c", LEAVES_AN_ORPHAN], subject.patience_s)
    mend = "mount /proc, and allow prctl and kill in the container (its seccomp profile): models would be left running"
    if done.status != 0 or not done.out.strip().isdigit():
        yield fault("keeper", f"the keeper of runners {done.ending}", mend)
        return
    orphan = int(done.out)
    if _runs(orphan):
        with contextlib.suppress(ProcessLookupError):
            os.kill(orphan, signal.SIGKILL)
        yield fault("keeper", "a process that left its session outlived its runner", mend)
    else:
        yield ok("keeper", "a process that left its session was ended with its runner")


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@check("namespaces")
def namespaces(subject: Subject) -> Iterator[Finding]:
    """Which namespaces a process of this user may make (unshare(2)); runners are kept without them."""
    done = ask([sys.executable, "-I", "-S", "-c", TRIES_NAMESPACES], subject.patience_s)
    if done.status != 0:
        mend = "see what ends a Python process that calls unshare (dmesg)"
        yield warning("unshare", f"the process that tried {done.ending}", mend)
        return
    answers: dict[str, int] = json.loads(done.out)
    allowed = [name for name, number in answers.items() if number == 0]
    denied = [f"{name} ({os.strerror(number)})" for name, number in answers.items() if number != 0]
    seen = [f"allows {', '.join(allowed)}"] if allowed else []
    seen += [f"denies {', '.join(denied)}{_switches()}"] if denied else []
    yield not_needed("unshare", f"runners are kept without namespaces; the kernel {'; '.join(seen)}")


def _switches() -> str:
    """The kernel's switches of user namespaces that are off."""
    off: list[str] = []
    for name, closed in (
        ("user/max_user_namespaces", "0"),
        ("kernel/unprivileged_userns_clone", "0"),
        ("kernel/apparmor_restrict_unprivileged_userns", "1"),
    ):
        switch = Path("/proc/sys") / name
        if switch.is_file() and switch.read_text().strip() == closed:
            off.append(f"{name.replace('/', '.')}={closed}")
    return f" [{', '.join(off)}]" if off else ""
