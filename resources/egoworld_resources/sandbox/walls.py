"""What a program sees and may write, and the options by which bubblewrap makes it so.

A root file system of its own: the system's programs, what is named here, and nothing else of the machine. All of it is
read-only but the folders that are named writable and the program's own /tmp, /dev/shm and, if it has one, /scratch.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
ETC = ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "alternatives", "fonts", "mime.types")
NETWORK_ETC = ("resolv.conf", "hosts", "nsswitch.conf", "ssl", "ca-certificates", "pki", "services", "protocols")
SCRATCH = "/scratch"
NAMES = {
    "passwd": "root:x:0:0::/:/usr/sbin/nologin\ncode:x:{uid}:{uid}::{home}:/bin/sh\n",
    "group": "root:x:0:\ncode:x:{uid}:\n",
    "hosts": "127.0.0.1 localhost\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
}
TMP_BYTES = 1 << 30
"""Size of /tmp of a program that has no disk of its own."""


@dataclass(frozen=True)
class Walls:
    """One program's surroundings.

    read_only: real path and where it appears; writable: folders that exist, seen at their own paths, none of which may
    hold anything else that is shown; links: [link, its target]; files: contents by path; disk: an empty folder on
    which a file system in memory is mounted that appears as /scratch, /tmp and /dev/shm together; hidden: folders of
    ours that stay hidden except for what is named, if they are below the system's; devices: nodes; network: the
    machine's own; system: further files of the system, where they exist; cwd: working directory;
    as_root: whether root stays root where it cannot be kept apart by mounts.
    """

    read_only: Sequence[tuple[str, str]] = ()
    writable: Sequence[str] = ()
    links: Sequence[tuple[str, str]] = ()
    files: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    disk: Path | None = None
    hidden: Sequence[str] = ()
    devices: Sequence[str] = ()
    system: Sequence[str] = ()
    network: bool = False
    cwd: str = "/"
    as_root: bool = False


def same(*paths: str | Path) -> list[tuple[str, str]]:
    """Paths that appear where they are."""
    return [(str(path), str(path)) for path in paths]


def root_options(walls: Walls) -> Iterator[str]:
    """The system's own files."""
    for folder in SYSTEM:
        if os.path.islink(folder):
            yield from ("--symlink", os.readlink(folder), folder)
        elif os.path.isdir(folder):
            yield from ("--ro-bind", folder, folder)
    yield from _folder("/etc")
    for name in (*ETC, *(NETWORK_ETC if walls.network else ())):
        if os.path.exists(f"/etc/{name}"):
            yield from ("--ro-bind", os.path.realpath(f"/etc/{name}"), f"/etc/{name}")
    for path in walls.system:
        yield from ("--ro-bind-try", path, path)


def shown_options(walls: Walls) -> Iterator[str]:
    """What is named, outer folders before inner ones, and writable ones last."""
    hidden = [path for path in walls.hidden if below(path, SYSTEM)]
    for path in hidden:
        yield from ("--tmpfs", path)
    seen: list[str] = []
    for target, source in sorted({shown: real for real, shown in walls.read_only}.items()):
        if (below(target, SYSTEM) and not below(target, hidden)) or (source == target and below(target, seen)):
            continue
        yield from _folders_above(target, seen, hidden)
        yield from ("--ro-bind", source, target)
        seen.append(target)
    for link, target in walls.links:
        if not below(link, [*seen, *SYSTEM]):
            yield from _folders_above(link, seen, hidden)
            yield from ("--symlink", target, link)
    for path in sorted(walls.writable):
        yield from _folders_above(path, seen, hidden)
        yield from ("--bind", path, path)
    for path in walls.files:
        yield from _folders_above(path, seen, hidden)
    for path in hidden:
        yield from ("--remount-ro", path)


def _folders_above(path: str, seen: Sequence[str], hidden: Sequence[str]) -> Iterator[str]:
    """The folders that hold ``path``, open to every user: those that bubblewrap makes by itself are not."""
    outer = [str(folder) for folder in Path(path).parents if str(folder) != "/"]
    for folder in reversed(outer):
        if not below(folder, seen) and not (below(folder, SYSTEM) and not below(folder, hidden)):
            yield from _folder(folder)


def _folder(path: str) -> tuple[str, ...]:
    return ("--perms", "0755", "--dir", path)


def below(path: str, folders: Sequence[str]) -> bool:
    """Whether a path is one of these folders or below one."""
    return any(path == folder or path.startswith(f"{folder.rstrip('/')}/") for folder in folders)


def temporary_options(walls: Walls) -> Iterator[str]:
    """/tmp, /dev/shm, and /scratch."""
    if walls.disk is None:
        yield from ("--perms", "1777", "--size", str(TMP_BYTES), "--tmpfs", "/tmp")
        yield from ("--perms", "1777", "--tmpfs", "/dev/shm")
        return
    for part, target in (("scratch", SCRATCH), ("tmp", "/tmp"), ("shm", "/dev/shm")):
        yield from ("--bind", f"{walls.disk}/{part}", target)


def disk_mount_options(disk_bytes: int) -> str:
    """The options of the file system in memory: its bound of bytes, and of files."""
    files = max(1024, min(disk_bytes // 4096, 1 << 20))
    return f"size={disk_bytes},nr_inodes={files},mode=755,nosuid,nodev"
