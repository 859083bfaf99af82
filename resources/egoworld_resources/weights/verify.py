"""Compare a model's folder with its manifest: every byte of every file, on all cores, without a network."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from egoworld_resources.layout import readable
from egoworld_resources.weights.manifest import OURS, ModelManifest, WeightsFile, why_odd

READ_AT_ONCE = 2**20
DEEPEST = 32


@dataclass(frozen=True)
class Difference:
    """One way in which a folder is not what its manifest says. path: below the folder, safe to print."""

    kind: Literal["missing", "damaged", "extra", "refused", "unsigned"]
    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.path}{': ' if self.reason else ''}{self.reason}"


@dataclass(frozen=True)
class Found:
    """One entry of a folder. refusal: why it is no file of a model; empty when it is a plain file."""

    path: str
    bytes: int
    refusal: str = ""


class Unreadable(Exception):
    """A file is not there as a plain file, or cannot be read; the message says why."""


def verify(
    folder: Path, manifest: ModelManifest, *, quick: bool = False, threads: int | None = None
) -> list[Difference]:
    """All differences between a folder and a manifest, in path order; an empty list proves that it is whole.

    quick: compare names and sizes only. threads: how many files are read at once; default the cores of this process.
    """
    found = {entry.path: entry for entry in files_below(folder)}
    wanted = {file.path: file for file in manifest.files()}
    differences = [Difference("missing", path, "") for path in wanted.keys() - found.keys()]
    for path, entry in found.items():
        if entry.refusal:
            differences.append(Difference("refused", readable(path), entry.refusal))
        elif path not in wanted:
            differences.append(Difference("extra", readable(path), "is not in the manifest"))
        elif entry.bytes != wanted[path].bytes:
            reason = f"has {entry.bytes:,} bytes, the manifest says {wanted[path].bytes:,}"
            differences.append(Difference("damaged", path, reason))
    known = {difference.path for difference in differences}
    if not quick:
        rest = [file for path, file in wanted.items() if path not in known]
        differences += damaged(folder, rest, threads)
    return sorted(differences, key=lambda difference: difference.path)


def damaged(folder: Path, files: Sequence[WeightsFile], threads: int | None = None) -> list[Difference]:
    """Which of these files do not have their digest; the largest are read first."""
    largest_first = sorted(files, key=lambda file: -file.bytes)

    def compare(file: WeightsFile) -> Difference | None:
        try:
            sha256 = digest_of(folder / file.path)
        except Unreadable as error:
            return Difference("damaged", file.path, str(error))
        reason = f"has sha256 {sha256}, the manifest says {file.sha256}"
        return None if sha256 == file.sha256 else Difference("damaged", file.path, reason)

    with ThreadPoolExecutor(threads or len(os.sched_getaffinity(0))) as pool:
        return [difference for difference in pool.map(compare, largest_first) if difference]


def digests_of(folder: Path, paths: Sequence[str], threads: int | None = None) -> dict[str, str]:
    """SHA-256 by path, read on all cores; raises Unreadable."""
    with ThreadPoolExecutor(threads or len(os.sched_getaffinity(0))) as pool:
        return dict(zip(paths, pool.map(lambda path: digest_of(folder / path), paths), strict=True))


def digest_of(path: Path, taken: Callable[[memoryview], object] | None = None) -> str:
    """SHA-256 of a plain file, no link followed, as hex; raises Unreadable. taken: is given every piece, in order."""
    sha256, buffer = hashlib.sha256(), memoryview(bytearray(READ_AT_ONCE))
    try:
        with os.fdopen(open_plain(path), "rb", buffering=0) as file:
            while count := file.readinto(buffer):
                sha256.update(buffer[:count])
                if taken:
                    taken(buffer[:count])
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror or error}") from error
    return sha256.hexdigest()


def open_plain(path: Path) -> int:
    """A descriptor of a plain file, open for reading; raises Unreadable for anything else, a link among it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror or error}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Unreadable("is no plain file")
    return descriptor


def files_below(folder: Path) -> list[Found]:
    """Every entry below a model's folder but folders and what is ours, in path order; no link is followed."""
    return sorted(_below(folder, "", 0), key=lambda entry: entry.path)


def _below(folder: Path, prefix: str, depth: int) -> Iterator[Found]:
    if depth > DEEPEST:
        yield Found(prefix.rstrip("/"), 0, f"is a folder deeper than {DEEPEST}")
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            path = prefix + entry.name
            if path in OURS:
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _below(folder / entry.name, f"{path}/", depth + 1)
            else:
                yield _found(entry, path)


def _found(entry: os.DirEntry[str], path: str) -> Found:
    if entry.is_symlink():
        return Found(path, 0, "is a symbolic link")
    if not entry.is_file(follow_symlinks=False):
        return Found(path, 0, "is no plain file")
    return Found(path, entry.stat(follow_symlinks=False).st_size, f"its name {odd}" if (odd := odd_name(path)) else "")


def odd_name(path: str) -> str:
    """Why the name of a file that is there cannot be one of a model's; empty when it can."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return "is not UTF-8"
    return why_odd(path)
