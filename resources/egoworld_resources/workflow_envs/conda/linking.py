"""A generation filled from archives: linked, read, and linked once more from fresh files when the cache was altered."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

from egoworld_resources.environments.building.generations import CURRENT, READY, SUPERSEDED
from egoworld_resources.environments.building.installed_files import Files
from egoworld_resources.environments.building.verified_files import Ledger
from egoworld_resources.workflow_envs.conda import prefix
from egoworld_resources.workflow_envs.conda.adapter import Rattler
from egoworld_resources.workflow_envs.conda.declaration import FILE, LOCK
from egoworld_resources.workflow_envs.conda.packages import Package
from egoworld_resources.workflow_envs.errors import CondaFailed, Damaged

log = logging.getLogger(__name__)

OURS = (FILE, LOCK, READY, CURRENT, SUPERSEDED)
SCRIPTS = ("bin/.*-post-link.sh", "bin/.*-pre-link.sh")


def link_whole(
    rattler: Rattler,
    archives: Sequence[Path],
    packages: Sequence[Package],
    generation: Path,
    cache: Path,
    *,
    trust: bool,
) -> None:
    """Fill the new folder ``generation`` with read-only files; ``trust``: files that the ledger knows are not read.

    Raises Damaged when files differ from their records even after their archives were unpacked again.
    """
    ledger = Ledger.of(cache) if trust else None
    generation.mkdir()
    damaged = _linked(rattler, archives, generation, ledger, whole=not trust)
    if damaged:
        log.warning("the cache held altered files of %s; unpacking them again", ", ".join(sorted(damaged)))
        shutil.rmtree(generation)
        generation.mkdir()
        damaged = _linked(rattler, archives, generation, None, whole=True)
    if damaged:
        files = [file for wrong in damaged.values() for file in wrong]
        raise Damaged(f"{generation}: {', '.join(files[:5])} differ from what their packages say", files=files[:100])
    _check_contents(packages, generation)
    prefix.name_origins(generation, packages)
    Files(generation).make_read_only()


def _linked(
    rattler: Rattler, archives: Sequence[Path], generation: Path, ledger: Ledger | None, *, whole: bool
) -> dict[str, list[str]]:
    rattler.link(archives, generation, whole=whole)
    damaged = prefix.damaged(generation, Files(generation), ledger)
    if ledger:
        ledger.save()
    return damaged


def _check_contents(packages: Sequence[Package], generation: Path) -> None:
    """Raise CondaFailed when what was linked is not what the lock names, or would be overwritten by our own files."""
    found = {(one["name"], one["version"], one["build"], one["sha256"]) for one in prefix.records(generation)}
    if wrong := sorted(found ^ {(one.name, one.version, one.build, one.sha256) for one in packages}):
        raise CondaFailed(f"the archive of {' '.join(wrong[0][:3])} holds a different package than its name says")
    if taken := [name for name in OURS if (generation / name).exists()]:
        raise CondaFailed(f"a package brings a file {taken[0]}, which is a name of ours; leave that package out")
    for script in sorted(file.name for pattern in SCRIPTS for file in generation.glob(pattern)):
        log.warning("%s is not run: packages install files here, nothing more", script)
