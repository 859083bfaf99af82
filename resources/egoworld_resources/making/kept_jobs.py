"""What is kept of a run that went wrong: the job of one video, the log, and the command that runs it again."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shlex
import shutil
from pathlib import Path

from egoworld_resources.running.outputs import NotTaken, opened, opened_file
from egoworld_runner.job import Job

LOG = "runner.log"


def keep_failed_job(scratch: Path, job: Job | None, kept: Path, video: str, python: Path | None) -> str:
    """Write the job of one video and copy the log out of a scratch folder; returns the command, empty without a job.

    The kept job writes to ``<kept>/output`` and can be run again by hand as long as its inputs are in the store. It is
    the job as we wrote it, not what a runner may have made of the file.
    """
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    _copy_log(scratch, kept)
    if python is None or job is None:
        return ""
    given = kept / "job.json"
    alone = [dataclasses.replace(v, output=str(kept / "output")) for v in job.videos if v.video == video]
    dataclasses.replace(job, videos=tuple(alone)).write(given)
    return shlex.join([*clean_environment(), str(python), "-I", "-m", "egoworld_runner", "run", "--job", str(given)])


def _copy_log(scratch: Path, kept: Path) -> None:
    with contextlib.suppress(NotTaken), opened(scratch) as folder, opened_file(folder, LOG, LOG) as log:
        (kept / LOG).write_bytes(os.pread(log, os.fstat(log).st_size, 0))


def clean_environment() -> list[str]:
    """What starts a program without the caller's variables: one such as OPENBLAS_CORETYPE can change what comes out."""
    return ["env", "-i", f"PATH={os.environ.get('PATH', os.defpath)}"]
