"""Whether the files of an env are as installed: against RECORD (all bytes) or a stamp (sizes and times)."""

from __future__ import annotations

import base64
import csv
import hashlib
import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from egoworld_resources.environments.ledger import Ledger

PYCACHE = "__pycache__"


def damaged_files(site_packages: Path, ledger: Ledger | None = None) -> dict[str, list[str]]:
    """Distribution name to those of its files that are missing or differ from its RECORD; empty when all is well.

    With a ``ledger``, files that it knows are not read. RECORD:
    https://packaging.python.org/en/latest/specifications/recording-installed-packages/
    """
    damaged: dict[str, list[str]] = {}
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        reads = [
            (name, file, digest, pool.submit(_read, site_packages / file, digest))
            for name, file, digest in _recorded(site_packages)
            if not (ledger and _known(ledger, site_packages / file, digest))
        ]
        for name, file, digest, read in reads:
            found = read.result()
            if found is None:
                damaged.setdefault(name, []).append(file)
            elif ledger:
                ledger.learn(found, digest)
    return damaged


def _recorded(site_packages: Path) -> Iterator[tuple[str, str, str]]:
    for record in sorted(site_packages.glob("*.dist-info/RECORD")):
        name = record.parent.name.partition("-")[0]
        with record.open(newline="", encoding="utf-8") as lines:
            for file, digest, _size in csv.reader(lines):
                if digest:
                    yield name, file, digest


def _known(ledger: Ledger, file: Path, digest: str) -> bool:
    try:
        return ledger.knows(file.stat(), digest)
    except OSError:
        return False


def _read(file: Path, digest: str) -> os.stat_result | None:
    """The state of the file when its bytes have the digest, else None."""
    algorithm, _, expected = digest.partition("=")
    try:
        with file.open("rb") as content:
            found = os.fstat(content.fileno())
            actual = hashlib.file_digest(content, algorithm).digest()
    except OSError:
        return None
    return found if base64.urlsafe_b64encode(actual).rstrip(b"=").decode() == expected else None


def stamp(folder: Path) -> str:
    """Digest over path, size and modification time of all files below ``folder``, in tens of ms for 10,000 files.

    Bytecode is left out: Python writes it when a module is first imported.
    """
    digest = hashlib.sha256()
    for path, found in sorted(_walk(folder)):
        digest.update(f"{path}\0{found.st_size}\0{found.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def make_read_only(folder: Path) -> None:
    """Take write permission from all files below ``folder``: a write would reach every env that shares the file."""
    for path, found in _walk(folder):
        if found.st_mode & 0o222 and found.st_uid == os.geteuid():
            (folder / path).chmod(stat.S_IMODE(found.st_mode) & ~0o222)


def _walk(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    waiting = [""]
    while waiting:
        below = waiting.pop()
        with os.scandir(folder / below) as entries:
            for entry in entries:
                path = f"{below}{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    if entry.name != PYCACHE:
                        waiting.append(f"{path}/")
                elif entry.is_file(follow_symlinks=False):
                    yield path, entry.stat(follow_symlinks=False)
