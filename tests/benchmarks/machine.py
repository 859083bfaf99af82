"""The machine and the versions that a table was measured with."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import psutil

from egoworld_resources.environments.building.uv import find_uv
from egoworld_resources.settings import PROJECT

LIBRARIES = ("dagster", "av", "numpy", "pyarrow", "pydantic")


def machine() -> dict[str, str]:
    """Facts by name. busy: other load on the cores when it began, which makes every figure worse."""
    return {
        "cpu": f"{len(os.sched_getaffinity(0))} cores, {processor()}",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"Linux {platform.release()}, {filesystem()}",
        "busy": f"{psutil.cpu_percent(interval=1.0):.0f} % at the start",
        "versions": ", ".join([f"Python {platform.python_version()}", *(f"{n} {version(n)}" for n in LIBRARIES), uv()]),
        "commit": commit(),
    }


def processor() -> str:
    """The processor's name as the kernel gives it."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def filesystem() -> str:
    """The kind of file system that the checkout lies on."""
    mounts = [p for p in psutil.disk_partitions(all=True) if PROJECT.is_relative_to(p.mountpoint)]
    return max(mounts, key=lambda mount: len(mount.mountpoint)).fstype if mounts else "unknown file system"


def uv() -> str:
    """uv's own name and version."""
    done = subprocess.run([find_uv(PROJECT), "--version"], capture_output=True, text=True, check=True)
    return " ".join(done.stdout.split()[:2])


def commit() -> str:
    """The commit measured, marked when the checkout has changes."""
    asked = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    done = subprocess.run(asked, cwd=PROJECT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
