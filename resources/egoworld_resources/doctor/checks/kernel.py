"""The means of the kernel by which models are kept and ended."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

from egoworld_resources.doctor.finding import Finding, Subject, check, fault, ok, warning
from egoworld_resources.doctor.subprocess_with_timeout import ask
from egoworld_resources.environments.contract import contract_folder
from egoworld_resources.sandbox import capabilities
from egoworld_resources.sandbox.means import MEMORY_GROUP, PROCESS_GROUP

LEAVES_AN_ORPHAN = """
import subprocess, sys
sleeper = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"]
quiet = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
print(subprocess.Popen(sleeper, start_new_session=True, **quiet).pid)
"""


@check("ending models")
def ending_models(subject: Subject) -> Iterator[Finding]:
    """Whether the keeper of runners really ends what a model leaves behind, as this kernel has it (prctl, /proc)."""
    keeper = [sys.executable, "-I", "-S", contract_folder() / "keeper.py", str(os.getpid())]
    done = ask([*keeper, sys.executable, "-I", "-S", "-c", LEAVES_AN_ORPHAN], subject.patience_s)
    fix = "mount /proc, and allow prctl and kill in the container (its seccomp profile): models would be left running"
    if done.status != 0 or not done.out.strip().isdigit():
        yield fault("keeper", f"the keeper of runners {done.ending}", fix)
        return
    orphan = int(done.out)
    if _runs(orphan):
        with contextlib.suppress(ProcessLookupError):
            os.kill(orphan, signal.SIGKILL)
        yield fault("keeper", "a process that left its session outlived its runner", fix)
    else:
        yield ok("keeper", "a process that left its session was ended with its runner")


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@check("sandbox")
def sandbox(_subject: Subject) -> Iterator[Finding]:
    """What keeps model runners and the code of workflows apart here, by rehearsal; each artifact says it too."""
    found = capabilities()
    said = "; ".join(found.sentences())
    if not found.missing:
        yield ok("isolation", said)
        return
    fix = f"install bubblewrap and util-linux, allow user namespaces and mounts to this user{_switches()}"
    groups = {MEMORY_GROUP, PROCESS_GROUP}
    if set(found.missing) <= groups:
        fix = "start the service with Delegate=yes (systemd), so that it may make control groups"
    yield warning("isolation", said, fix)


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
