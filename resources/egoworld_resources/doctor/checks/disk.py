"""Room on the partitions that are written, and files shared between uv's cache and the envs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from egoworld_resources.doctor import server
from egoworld_resources.doctor.finding import Finding, Subject, check, fault, ok, warning
from egoworld_resources.doctor.places import TRACE, existing, own, written

GB = 1e9
FEW_FILES, FEWEST_FILES = 200_000, 10_000
"""Files that a partition must still take: uv's cache for all envs is some 165,000 entries, artifacts far fewer."""


@check("disk")
def disk(subject: Subject) -> Iterator[Finding]:
    """Free bytes and free inodes of every partition that is written, by us or by the parts of the server."""
    partitions: dict[int, list[str]] = {}
    places: dict[int, Path] = {}
    for name, folder in (written(subject) | server.data(subject)).items():
        place = existing(folder)
        device = place.stat().st_dev
        partitions.setdefault(device, []).append(name)
        places.setdefault(device, place)
    for device, names in partitions.items():
        about, found = ", ".join(names), os.statvfs(places[device])
        free = found.f_bavail * found.f_frsize / GB
        fix = f"free some (uv cache prune, old files) or move it: df -h {places[device]}"
        yield _judged(f"{about}: bytes", free, subject.free_gb, subject.free_gb / 10, "GB", fix)
        if found.f_files:
            fix = f"remove folders of many small files, or use another partition: df -i {places[device]}"
            yield _judged(f"{about}: inodes", found.f_favail, FEW_FILES, FEWEST_FILES, "files", fix)


def _judged(about: str, free: float, few: float, fewest: float, unit: str, fix: str) -> Finding:
    found = f"{free:,.1f} {unit} free" if unit == "GB" else f"{free:,} {unit} more"
    if free >= few:
        return ok(about, found)
    say = fault if free < fewest else warning
    return say(about, f"{found}; wanted are {few:,g}", fix)


@check("uv's cache")
def cache(subject: Subject) -> Iterator[Finding]:
    """A file of uv's cache can be linked into the envs; else every env is a full copy, slow and large."""
    store, envs = existing(subject.settings.uv_cache_folder), existing(subject.layout.envs)
    if not os.access(store, os.W_OK):
        yield fault("hardlinks", f"uv's cache {store} cannot be written", own(store))
        return
    with tempfile.NamedTemporaryFile(prefix=TRACE, dir=store) as file:
        link = envs / f"{Path(file.name).name}.link"
        try:
            link.hardlink_to(file.name)
        except OSError as error:
            found = f"{store} and {envs} share no files ({error.strerror}): every env is copied in full"
            fix = f"export UV_CACHE_DIR={subject.settings.home / 'uv-cache'} (or set uv_cache in egoworld.toml)"
            yield warning("hardlinks", found, fix)
            return
        link.unlink()
    yield ok("hardlinks", f"{store} and {envs} share files")
