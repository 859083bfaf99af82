"""Python, the C library, the clock, and PyAV."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from egoworld_resources.doctor.finding import Finding, Subject, check, fault, not_needed, ok
from egoworld_resources.doctor.subprocess_with_timeout import ask
from egoworld_resources.environments.contract import requires_python
from egoworld_resources.environments.policy.rules import Policy

CLOCK_SLACK_S = 60.0
"""Seconds that the clock of a file server may be ahead of ours."""

TEST_VIDEO = Path(__file__).parents[1] / "test_video.py"


@check("Python")
def python(subject: Subject) -> Iterator[Finding]:
    """Our own interpreter against requires-python, and the machine against the one platform of the locks."""
    wanted = requires_python(subject.settings.project / "pyproject.toml")
    found = f"{platform.python_version()} at {sys.executable}"
    if SpecifierSet(wanted).contains(platform.python_version()):
        yield ok("version", found)
    else:
        fix = "name one that fits: rm -rf .venv .tools && make setup PYTHON3=/path/to/python3.11"
        yield fault("version", f"{found}; wanted is {wanted}", fix)
    here = f"{platform.system()} {platform.machine()}"
    if here == "Linux x86_64":
        yield ok("platform", here)
    else:
        yield fault("platform", f"{here}; the locks are for Linux x86_64", "run egoworld on a Linux x86_64 machine")


@check("glibc")
def glibc(subject: Subject) -> Iterator[Finding]:
    """The C library against the oldest one that the wheels of the locks may ask for."""
    policy = subject.settings.project / "envs" / "policy.toml"
    wanted = Policy.read(policy).glibc
    name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "no glibc").partition(" ")
    try:
        fits = name == "glibc" and Version(version) >= Version(wanted)
    except InvalidVersion:
        fits = False
    if fits:
        yield ok("version", f"{version}; the locks ask for no newer one than {wanted}")
    else:
        fix = f"use Debian 12, Ubuntu 24.04 or newer; or lower glibc in {policy} and lock every env again"
        yield fault("version", f"{name} {version}; wheels of the locks may need {wanted}", fix)


@check("clock")
def clock(subject: Subject) -> Iterator[Finding]:
    """The clock against the newest thing that was written here.

    A clock that went back dates artifacts wrongly, and the inbox sensor passes over files that look older than those
    it has seen.
    """
    newest, where = max([*_written(subject.layout.store), *_locks(subject.settings.project)], default=(0.0, None))
    now = time.time()
    shown = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    if newest > now + CLOCK_SLACK_S:
        ahead = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(newest))
        fix = "set the clock: sudo timedatectl set-ntp true"
        yield fault("time", f"it is {shown}, but {where} was written at {ahead}", fix)
    else:
        yield ok("time", f"{shown}; nothing here is newer")


def _written(store: Path) -> Iterator[tuple[float, Path | None]]:
    """When each asset of each video was last written, and where: its folder changes with the live version."""
    artifacts = store / "artifacts"
    if artifacts.is_dir():
        for asset in artifacts.iterdir():
            with os.scandir(asset) as videos:
                yield from ((video.stat().st_mtime, Path(video.path)) for video in videos)


def _locks(project: Path) -> Iterator[tuple[float, Path | None]]:
    yield from ((lock.stat().st_mtime, lock) for lock in (project / "locks").glob("*.toml"))


@check("video")
def video(subject: Subject) -> Iterator[Finding]:
    """PyAV encodes and decodes a clip in memory; in a process of its own, which may crash."""
    done = ask([sys.executable, "-P", TEST_VIDEO], subject.patience_s)
    if done.status == 0:
        yield ok("PyAV", done.out.strip())
    else:
        fix = "install it again: rm -rf .venv && make setup"
        yield fault("PyAV", f"encoding and decoding H.264 {done.ending}", fix)
    there = [program for program in ("ffmpeg", "ffprobe") if shutil.which(program)]
    seen = f"on PATH: {', '.join(there)}" if there else "none on PATH"
    yield not_needed("ffmpeg, ffprobe", f"PyAV brings FFmpeg's libraries with it ({seen})")
