"""What is kept of a run that went wrong: the job of one video, the log, and the command that runs it again."""

from __future__ import annotations

import dataclasses
import os
import shlex
import shutil
from pathlib import Path

from egoworld_runner.job import Job


def keep(scratch: Path, kept: Path, video: str, python: Path | None) -> str:
    """Copy job and log of one video out of a scratch folder; returns the command, empty when no job was written.

    The kept job writes to ``<kept>/output`` and can be run again by hand as long as its inputs are in the store.
    """
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    log, given = scratch / "runner.log", scratch / "job.json"
    if log.is_file():
        shutil.copy(log, kept / log.name)
    if python is None or not given.is_file():
        return ""
    job = Job.read(given)
    alone = [dataclasses.replace(v, output=str(kept / "output")) for v in job.videos if v.video == video]
    dataclasses.replace(job, videos=tuple(alone)).write(kept / given.name)
    return shlex.join([*bare(), str(python), "-I", "-m", "egoworld_runner", "run", "--job", str(kept / given.name)])


def bare() -> list[str]:
    """What starts a program without the caller's variables: one such as OPENBLAS_CORETYPE can change what comes out."""
    return ["env", "-i", f"PATH={os.environ.get('PATH', os.defpath)}"]
