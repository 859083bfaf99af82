"""The folders that egoworld writes."""

from __future__ import annotations

import getpass
import os
from pathlib import Path

from egoworld_resources.doctor.finding import Subject

TRACE = ".egoworld-doctor-"
"""How the names of the doctor's own files begin; each is removed by the check that made it."""


def written(subject: Subject) -> dict[str, Path]:
    """The folders that egoworld writes, by name; each may be a link or a mount of its own."""
    layout = subject.layout
    names = ("home", "store", "scratch", "envs", "dagster", "dataset", "logs")
    return {name: getattr(layout, name) for name in names} | {"uv's cache": subject.settings.uv_cache_folder}


def existing(folder: Path) -> Path:
    """The folder, or the nearest above it that exists: where it would be made."""
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    return folder


def own(folder: Path) -> str:
    """What lets us write into a folder."""
    return f"sudo chown -R {getpass.getuser()} {folder}, or set home (EGOWORLD_HOME) to a folder of yours"
