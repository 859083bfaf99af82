"""Disks: one partition for envs and cache; a full one, and a folder that is shut to us, named as such."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from egoworld_resources.disk import naming_a_full_disk
from egoworld_resources.errors import BadConfiguration, DiskFull
from egoworld_resources.workflow_envs.errors import NoSpace, NotAccessible

MOUNTED = "Something is mounted on it, and envs change by renaming within one mount: findmnt -T {where}, umount {where}"
SHUT: Mapping[int, str] = {
    errno.EACCES: "Give it back: chown -R {user} and chmod u+rwX on {where} and the folders around it",
    errno.EPERM: "It is immutable or another user's (lsattr -d, ls -ld): chattr -i {where}, or chown -R {user} {where}",
    errno.EROFS: "Its file system is mounted read-only: findmnt -T {where}, then mount it read-write (after a fault of "
    "the disk, see dmesg)",
    errno.EXDEV: MOUNTED,
    errno.EBUSY: MOUNTED,
}
"""How to make a folder accessible again, by the error that reports it."""


def refuse_two_partitions(envs: Path, cache: Path) -> None:
    """Raise BadConfiguration unless hardlinks from ``cache`` reach ``envs``."""
    if envs.stat().st_dev != cache.stat().st_dev:
        raise BadConfiguration(
            f"ENVS_BASE_PATH {envs} and UV_CACHE_DIR {cache} are on different partitions: every env would be copied in "
            "full instead of hardlinked (measured: 3.1 s instead of 0.27 s, and the whole size each time). "
            "Put both on one partition, beside each other"
        )


@contextmanager
def naming_faults_of_disks(folder: Path) -> Iterator[None]:
    """Raise NoSpace or NotAccessible for what fails inside because the disk of ``folder`` is full or shut to us."""
    try:
        with naming_a_full_disk(folder):
            yield
    except DiskFull as error:
        left = shutil.disk_usage(folder).free // 10**6
        raise NoSpace(f"no space left at {folder} ({left} MB free); remove envs with `egoworld env cleanup`") from error
    except OSError as error:
        if error.errno not in SHUT:
            raise
        raise not_accessible(error, folder) from error


def not_accessible(error: OSError, folder: Path | None = None) -> NotAccessible:
    """What an error of SHUT means to a caller. folder: counts where the error names no file."""
    named = error.filename2 or error.filename or folder or "a file of the service"
    where = os.fsdecode(named) if isinstance(named, (str, bytes)) else str(named)
    return NotAccessible(
        f"{where} cannot be read or written by user {os.geteuid()} ({error.strerror}); nothing of the env is lost. "
        f"{SHUT[error.errno or errno.EACCES].format(where=where, user=os.geteuid())}, then ask again",
        path=where,
    )
