"""Whether the files of an env are as installed: against RECORD (all bytes) or a stamp (sizes and times)."""

from __future__ import annotations

import base64
import csv
import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from egoworld_resources.environments.ledger import Ledger

PYCACHE = "__pycache__"

Found = Mapping[str, os.stat_result]
"""Files by their path, with what lstat says of each."""


def damaged_files(
    site_packages: Path, ledger: Ledger | None = None, found: Found | None = None
) -> dict[str, list[str]]:
    """Distribution name to those of its files that are missing or differ from its RECORD; empty when all is well.

    With a ``ledger``, files that it knows are not read; ``found``: what files_below gave for the folder, so that it is
    not walked again. RECORD: https://packaging.python.org/en/latest/specifications/recording-installed-packages/
    """
    damaged: dict[str, list[str]] = {}
    found = files_below(site_packages) if ledger and found is None else found or {}
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        reads = [
            (name, file, digest, pool.submit(_read, site_packages / file, digest))
            for name, file, digest in _recorded(site_packages)
            if not (ledger and _known(ledger, f"{site_packages}/{file}", found, digest))
        ]
        for name, file, digest, read in reads:
            facts = read.result()
            if facts is None:
                damaged.setdefault(name, []).append(file)
            elif ledger and facts.st_nlink > 1:  # what this env alone has is never seen again
                ledger.learn(facts, digest)
    return damaged


def _recorded(site_packages: Path) -> Iterator[tuple[str, str, str]]:
    for record in sorted(site_packages.glob("*.dist-info/RECORD")):
        name = record.parent.name.partition("-")[0]
        with record.open(newline="", encoding="utf-8") as lines:
            for file, digest, _size in csv.reader(lines):
                if digest:
                    yield name, file, digest


def _known(ledger: Ledger, file: str, found: Found, digest: str) -> bool:
    try:
        return ledger.knows(found.get(file) or os.stat(file), digest)  # noqa: PTH116 a Path costs more than the stat
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


def stamp(folder: Path, found: Found | None = None) -> str:
    """Digest over path, size and modification time of all files below ``folder``, in tens of ms for 10,000 files.

    Bytecode is left out: Python writes it when a module is first imported. found: what files_below gave for it.
    """
    digest = hashlib.sha256()
    start = len(f"{folder}/")
    for path, facts in sorted((files_below(folder) if found is None else found).items()):
        digest.update(f"{path[start:]}\0{facts.st_size}\0{facts.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def make_read_only(folder: Path, found: Found | None = None) -> None:
    """Take write permission from all files below ``folder``: a write would reach every env that shares the file.

    found: what files_below gave for it.
    """
    for path, facts in (files_below(folder) if found is None else found).items():
        if facts.st_mode & 0o222 and facts.st_uid == os.geteuid():
            Path(path).chmod(stat.S_IMODE(facts.st_mode) & ~0o222)


def files_below(folder: Path) -> dict[str, os.stat_result]:
    """All files below ``folder`` except bytecode and links, by path, with what one lstat says of each."""
    found: dict[str, os.stat_result] = {}
    waiting = [str(folder)]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if entry.name != PYCACHE:
                        waiting.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    found[entry.path] = entry.stat(follow_symlinks=False)
    return found
