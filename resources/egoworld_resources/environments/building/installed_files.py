"""Whether the files of an env are as installed: against RECORD (all bytes) or a stamp (sizes and times)."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import stat
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

from egoworld_resources.environments.building.generations import site_packages
from egoworld_resources.environments.building.verified_files import Known, Ledger
from egoworld_resources.environments.errors import EnvBuildFailed
from egoworld_resources.programs.environment import environment_of

WRITABLE = ("(", "-perm", "/222", "-printf", "w ", "-o", "-printf", "- ", ")")
FIND = ("-name", "__pycache__", "-prune", "-o", "-type", "f", *WRITABLE, "-printf", r"%n %U\t%D:%i\t%s %T@ %p\0")
"""Of every file that is not bytecode: whether it may be written, hardlinks, owner; device and inode; size, modification
time and path."""


class Files:
    """All files below ``folder`` but bytecode and links, as GNU find saw them at one time.

    A torch env has 17,000 files: two finds take about half the time of Python's own walk, and their lines are
    compared as they are.
    """

    def __init__(self, folder: Path) -> None:
        """Start looking; asking for the result waits for it."""
        self.folder = folder
        roots = sorted(f"./{entry.name}" for entry in folder.iterdir()) if folder.is_dir() else []
        pool = ThreadPoolExecutor(max_workers=2)
        self._halves = [pool.submit(self._found, half) for half in (roots[::2], roots[1::2]) if half]
        pool.shutdown(wait=False)

    @cached_property
    def _lines(self) -> list[str]:
        return [line for half in self._halves for line in half.result()]

    def __len__(self) -> int:
        return len(self._lines)

    @cached_property
    def identities(self) -> frozenset[str]:
        """Inode, size, modification time and path of every file: what changes when somebody writes to it."""
        return frozenset(line.partition("\t")[2] for line in self._lines)

    @cached_property
    def shared(self) -> dict[str, str]:
        """The identities of those that have other hardlinks, by their paths."""
        lines = (line.partition("\t")[2] for line in self._lines if line.split(" ", 2)[1] != "1")
        return {path_of(identity): identity for identity in lines}

    @property
    def size(self) -> int:
        """Bytes of all files together, shared ones included."""
        return sum(int(line.rpartition("\t")[2].partition(" ")[0]) for line in self._lines)

    def stamp(self) -> str:
        """Digest over path, size and modification time. Bytecode is left out: Python writes it at the first import."""
        lines = sorted(line.rpartition("\t")[2] for line in self._lines)
        return hashlib.sha256("\0".join(lines).encode(errors="surrogateescape")).hexdigest()

    def make_read_only(self) -> None:
        """Take write permission from all that are ours: a write would reach every env that shares the file."""
        ours = f" {os.geteuid()}"
        for line in self._lines:
            if line[0] == "w" and line.partition("\t")[0].endswith(ours):
                file = self.folder / path_of(line)
                file.chmod(stat.S_IMODE(file.lstat().st_mode) & ~0o222)

    def _found(self, roots: list[str]) -> list[str]:
        find = ["find", *roots, *FIND]
        done = subprocess.run(find, cwd=self.folder, env=environment_of(), capture_output=True, check=False)
        if done.returncode != 0:
            raise EnvBuildFailed(f"the files of {self.folder} could not be listed: {os.fsdecode(done.stderr).strip()}")
        return os.fsdecode(done.stdout).split("\0")[:-1]


def stamp_of(generation: Path, files: Files | None = None) -> str:
    """Changes when somebody writes into a venv: into its packages, bin or pyvenv.cfg.

    ``files``: what was found among its packages, if known already.
    """
    packages = Files(site_packages(generation)) if files is None else files
    return hashlib.sha256(
        "\0".join([packages.stamp(), *_frame(generation)]).encode(errors="surrogateescape")
    ).hexdigest()


def _frame(generation: Path) -> Iterator[str]:
    """Links with their targets, files with size and time: of bin, and pyvenv.cfg."""
    for path in [*sorted((generation / "bin").glob("*")), generation / "pyvenv.cfg"]:
        if path.is_symlink():
            yield f"{path.name} -> {path.readlink()}"
        elif path.is_file():
            found = path.stat()
            yield f"{path.name} {found.st_size} {found.st_mtime_ns}"


def unrecorded(packages: Path) -> list[str]:
    """Files that no installed distribution brought."""
    listed = {row[0] for path in packages.glob("*.dist-info/RECORD") for row in _rows(path.read_bytes()) if row}
    return sorted(path for path in map(path_of, Files(packages).identities) if path not in listed)


def path_of(identity: str) -> str:
    """The path in a line or an identity, relative to the folder."""
    return identity.rpartition("\t")[2].split(" ", 2)[2].removeprefix("./")


def damaged_files(packages: Path, ledger: Ledger | None = None, files: Files | None = None) -> dict[str, list[str]]:
    """Distribution name to those of its files that are missing or differ from its RECORD; empty when all is well.

    With a ``ledger``, files that it knows are not read; ``files``: what was found below the folder, if known already.
    RECORD: https://packaging.python.org/en/latest/specifications/recording-installed-packages/
    """
    files = (files or Files(packages)) if ledger else None
    texts = {path.parent.name: path.read_bytes() for path in sorted(packages.glob("*.dist-info/RECORD"))}
    keys = {name: f"{name} {hashlib.sha256(text).hexdigest()}" for name, text in texts.items()}
    remembered = ledger.known(keys.values()) if ledger else {}
    damaged: dict[str, list[str]] = {}
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        for name, text in texts.items():
            known = remembered.get(keys[name])
            as_known = known is not None and files is not None and known.shared <= files.identities
            unread = known.own if known and as_known else _unread(text, known, files)
            whole = pool.map(lambda file, digest: _is_whole(packages / file, digest), unread, unread.values())
            wrong = [file for file, well in zip(unread, whole, strict=True) if not well]
            if wrong:
                damaged[name.partition("-")[0]] = wrong
            elif ledger and files and not as_known:
                ledger.learn(keys[name], _as_known(text, files.shared))
    return damaged


def _unread(record: bytes, known: Known | None, files: Files | None) -> dict[str, str]:
    """The files of a RECORD that the ledger does not know as they are, with their digests."""
    sure = {path_of(identity) for identity in known.shared & files.identities} if known and files else set[str]()
    return {file: digest for file, digest in _recorded(record) if file not in sure}


def _as_known(record: bytes, shared: Mapping[str, str]) -> Known:
    """What to remember of a distribution whose files are whole: nobody sees again what one env alone has."""
    files = dict(_recorded(record))
    return Known(
        frozenset(shared[file] for file in files if file in shared),
        {file: digest for file, digest in files.items() if file not in shared},
    )


def _recorded(record: bytes) -> Iterator[tuple[str, str]]:
    return ((file, digest) for file, digest, _size in _rows(record) if digest)


def _rows(record: bytes) -> Iterator[list[str]]:
    return csv.reader(io.StringIO(record.decode(), newline=""))


def _is_whole(file: Path, digest: str) -> bool:
    """Whether the bytes of the file have the digest of its RECORD."""
    algorithm, _, expected = digest.partition("=")
    try:
        with file.open("rb") as content:
            actual = hashlib.file_digest(content, algorithm).digest()
    except OSError:
        return False
    return base64.urlsafe_b64encode(actual).rstrip(b"=").decode() == expected
