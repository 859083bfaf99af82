"""Disks: one partition for envs and cache, and a full one named as such."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from egoworld_resources.disk import naming_a_full_disk
from egoworld_resources.errors import BadConfiguration, DiskFull
from egoworld_resources.workflow_envs.errors import NoSpace


def refuse_two_partitions(envs: Path, cache: Path) -> None:
    """Raise BadConfiguration unless hardlinks from ``cache`` reach ``envs``."""
    if envs.stat().st_dev != cache.stat().st_dev:
        raise BadConfiguration(
            f"ENVS_BASE_PATH {envs} and UV_CACHE_DIR {cache} lie on different partitions: every env would be copied in "
            "full instead of hardlinked (measured: 3.1 s instead of 0.27 s, and the whole size each time). "
            "Put both on one partition, beside each other"
        )


@contextmanager
def refusing_a_full_disk(folder: Path) -> Iterator[None]:
    """Raise NoSpace for what fails inside because the disk of ``folder`` is full."""
    try:
        with naming_a_full_disk(folder):
            yield
    except DiskFull as error:
        left = shutil.disk_usage(folder).free // 10**6
        raise NoSpace(f"no space left at {folder} ({left} MB free); remove envs with `egoworld env cleanup`") from error
