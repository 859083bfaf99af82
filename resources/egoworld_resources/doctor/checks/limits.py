"""What the kernel grants: open files, processes, memory, and the means by which models are kept and ended."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator

import psutil

from egoworld_resources.doctor.finding import Finding, Subject, check, fault, not_needed, ok, warning
from egoworld_resources.sandbox.cgroups import granted

OPEN_FILES, FEWEST_FILES = 1024, 256
"""What Linux grants by default, and what Dagster's daemon with its databases and a runner do not fit into."""

THREADS_A_CORE, FEWEST_THREADS = 64, 64
"""A runner has a few pools of threads, each as large as the machine; the fewest are for Dagster alone."""

GB = 1e9
LITTLE_MEMORY_GB, LEAST_MEMORY_GB = 4.0, 1.0


@check("open files")
def open_files(_subject: Subject) -> Iterator[Finding]:
    """RLIMIT_NOFILE."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= OPEN_FILES:
        yield ok("ulimit -n", _shown(soft))
        return
    if hard == resource.RLIM_INFINITY or hard >= OPEN_FILES:
        fix = f"ulimit -n {OPEN_FILES}"
    else:
        fix = f"set 'nofile {OPEN_FILES}' in /etc/security/limits.conf (LimitNOFILE= of a service) and log in again"
    say = fault if soft < FEWEST_FILES else warning
    yield say("ulimit -n", f"{soft}; wanted are {OPEN_FILES}", fix)


@check("processes")
def processes(_subject: Subject) -> Iterator[Finding]:
    """RLIMIT_NPROC and the control group's pids.max, against the threads that there are."""
    wanted = max(256, THREADS_A_CORE * (os.cpu_count() or 1))
    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    if soft == resource.RLIM_INFINITY:
        yield ok("ulimit -u", _shown(soft))
    else:
        fix = "ulimit -u unlimited, or set nproc in /etc/security/limits.conf and log in again"
        yield _room("ulimit -u", soft, _threads_of_user(), wanted, fix)
    group = granted("pids", "pids.max", "pids.max", "pids.current", "pids.current")
    if group is not None:
        fix = "grant the container or service more: --pids-limit, TasksMax="
        yield _room("control group", group.limit, group.used, wanted, fix)


def _room(about: str, limit: int, used: int, wanted: int, fix: str) -> Finding:
    found = f"{limit}, of which {used} are in use"
    if limit - used >= wanted:
        return ok(about, found)
    say = fault if limit - used < FEWEST_THREADS else warning
    return say(about, f"{found}; wanted are {wanted} more", fix)


def _threads_of_user() -> int:
    count = 0
    for process in psutil.process_iter(["uids", "num_threads"]):
        if process.info["uids"] and process.info["uids"].real == os.getuid():
            count += process.info["num_threads"] or 0
    return count


@check("memory")
def memory(subject: Subject) -> Iterator[Finding]:
    """What is free, against the bound that a runner has (memory_gb)."""
    machine = psutil.virtual_memory()
    total, available = machine.total, machine.available
    group = granted(
        "memory", "memory.max", "memory.limit_in_bytes", "memory.current", "memory.usage_in_bytes", below=total
    )
    if group is not None:
        total, available = group.limit, min(available, max(0, group.limit - group.used))
    yield memory_finding(total / GB, available / GB, subject.settings.memory_gb)
    for name, number in (("ulimit -v", resource.RLIMIT_AS), ("ulimit -d", resource.RLIMIT_DATA)):
        soft, _ = resource.getrlimit(number)
        if soft != resource.RLIM_INFINITY:
            found = f"a process gets {soft / GB:.1f} GB at most"
            yield warning(name, found, f"{name} unlimited, and bound runners by memory_gb")
    for name, number in (("ulimit -f", resource.RLIMIT_FSIZE), ("ulimit -t", resource.RLIMIT_CPU)):
        soft, _ = resource.getrlimit(number)
        if soft != resource.RLIM_INFINITY:
            yield warning(name, f"{soft}: long videos will hit it", f"{name} unlimited")
    yield not_needed("Ray's object store", "nothing runs on Ray; frames stay in the process that decodes them")


def memory_finding(total: float, available: float, bound: float | None) -> Finding:
    """What to say of a machine (GB) with this much memory for runners that may take ``bound``."""
    found = f"{available:.1f} GB of {total:.1f} GB are free"
    if bound is None:
        if available >= LITTLE_MEMORY_GB:
            return ok("memory", f"{found}; runners have no bound (memory_gb)")
        say = fault if available < LEAST_MEMORY_GB else warning
        return say("memory", f"{found}; models want {LITTLE_MEMORY_GB:g} GB", "end other programs, or add memory")
    found = f"{found}; a runner may take {bound:g} GB (memory_gb)"
    if bound > total:
        fix = f"set memory_gb below {total:.0f} in egoworld.toml: the kernel would end a runner before its bound does"
        return fault("memory", found, fix)
    if bound > available:
        return warning("memory", found, "end other programs, or lower memory_gb in egoworld.toml")
    return ok("memory", found)


def _shown(limit: int) -> str:
    return "unlimited" if limit == resource.RLIM_INFINITY else str(limit)
