"""A full disk is the fault of no clip: it ends the job, which can be run again once there is room."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

from egoworld_runner.errors import RunnerError

FULL = {errno.ENOSPC, errno.EDQUOT}

RESERVE = 1 << 20
"""Bytes free below which a failure counts as one of space: many libraries do not say why a write failed."""


class NoSpace(RunnerError):
    """No space is left where the job writes; the message names the folder."""


def ran_out(error: BaseException, folder: Path) -> bool:
    """Whether an error, or what led to it, is a full disk below ``folder``."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, NoSpace) or (isinstance(cause, OSError) and cause.errno in FULL):
            return True
        cause = cause.__cause__ or cause.__context__
    return shutil.disk_usage(folder).free < RESERVE
