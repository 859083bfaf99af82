"""The folders that egoworld reads and writes: whether they keep what is written and hold what is locked."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil

from egoworld_resources.doctor.finding import Finding, Subject, check, fault, ok, warning
from egoworld_resources.doctor.places import TRACE, existing, own, written
from egoworld_resources.doctor.subprocess_with_timeout import ask
from egoworld_resources.leases.locks import try_lock, unlock

ANOTHER_PROCESS = """
import sys
from egoworld_resources.leases.locks import try_lock
with open(sys.argv[1], "r+") as file:
    print("free" if try_lock(file.fileno()) else "held")
"""

OVER_THE_NETWORK = ("nfs", "cifs", "smb", "9p", "fuse.", "afs", "ncp")
VOLATILE = ("tmpfs", "ramfs", "overlay")


@check("writing")
def writing(subject: Subject) -> Iterator[Finding]:
    """Every folder takes a file, flushes it to the disk and puts it in place of another in one step."""
    good: dict[Path, list[str]] = {}
    for name, folder in written(subject).items():
        place = existing(folder)
        try:
            _write(place) if place not in good else None
        except OSError as error:
            why = os.strerror(error.errno) if error.errno else str(error)
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            yield fault(name, f"{place}: {why}", "free some disk, see the check of disk" if full else own(place))
        else:
            good.setdefault(place, []).append(name)
    for place, names in good.items():
        yield ok(", ".join(names), f"{place} takes files, flushes and replaces them")


def _write(folder: Path) -> None:
    with tempfile.TemporaryDirectory(prefix=TRACE, dir=folder) as made:
        final, fresh = Path(made, "final"), Path(made, "fresh")
        final.write_text("before", encoding="utf-8")
        with fresh.open("w", encoding="utf-8") as file:
            file.write("after")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(final)
        descriptor = os.open(made, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if final.read_text(encoding="utf-8") != "after" or fresh.exists():
            raise OSError(errno.EIO, "a renamed file did not take the place of another")


@check("locking")
def locking(subject: Subject) -> Iterator[Finding]:
    """A file that we lock is held for other processes, and free again after us."""
    places = {existing(folder): name for name, folder in reversed(written(subject).items())}
    fix = "put it on a local disk (home or uv_cache in egoworld.toml): leases and builds rely on locks"
    for place, name in reversed(places.items()):
        try:
            answers = _held_and_freed(place, subject.patience_s)
        except OSError as error:
            yield fault(name, f"{place}: {error.strerror or error}", fix)
            continue
        if answers == ["held", "free"]:
            yield ok(name, f"locks keep other processes out of {place}")
        else:
            yield fault(name, f"{place}: to another process, a held and a freed lock read as {answers}", fix)


def _held_and_freed(folder: Path, seconds: float) -> list[str]:
    """What another process sees of a lock while we hold it, and after."""
    with tempfile.NamedTemporaryFile(prefix=TRACE, dir=folder) as file:
        command = [sys.executable, "-I", "-c", ANOTHER_PROCESS, file.name]
        answers: list[str] = []
        for act in (try_lock, unlock):
            act(file.fileno())
            answer = ask(command, seconds / 2)
            answers.append(answer.out.strip() or answer.ending)
        return answers


@check("file system")
def file_system(subject: Subject) -> Iterator[Finding]:
    """Home, with its databases and locks, lies on a disk of this machine."""
    place = existing(subject.settings.home).resolve()
    kind = _kind(place)
    if kind.startswith(OVER_THE_NETWORK):
        fix = "put home on a local disk (EGOWORLD_HOME): SQLite and locks are not to be trusted over a network"
        yield warning("home", f"{place} is on {kind}", fix)
    elif kind in VOLATILE:
        fix = "put home on a disk (EGOWORLD_HOME); in a container, on a volume"
        yield warning("home", f"{place} is on {kind}: it is gone with the machine's or container's next start", fix)
    else:
        yield ok("home", f"{place} is on {kind}")


def _kind(place: Path) -> str:
    """The file system's kind by the longest mount point above ``place``; of equal ones the last covers the others."""
    kind, longest = "an unknown file system", -1
    for mount in psutil.disk_partitions(all=True):
        if place.is_relative_to(mount.mountpoint) and len(mount.mountpoint) >= longest:
            kind, longest = mount.fstype, len(mount.mountpoint)
    return kind


@check("inbox")
def inbox(subject: Subject) -> Iterator[Finding]:
    """The folder that the sensor watches can be listed."""
    folder = subject.settings.inbox_folder
    if folder.is_dir():
        try:
            with os.scandir(folder) as entries:
                next(entries, None)
        except OSError as error:
            yield fault("inbox", f"{folder}: {error.strerror}", f"sudo chmod a+rX {folder}")
        else:
            yield ok("inbox", f"{folder} can be read")
    elif os.path.lexists(folder) or subject.settings.inbox is not None:
        found = f"{folder} is no folder" if os.path.lexists(folder) else f"{folder} does not exist"
        yield fault("inbox", found, f"mkdir -p {folder}, or set inbox in egoworld.toml to the folder that is meant")
    else:
        yield ok("inbox", f"{folder} is made by `egoworld ui`")
