"""What the control groups of this process grant: version 2 (one tree) or 1 (a tree a controller)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Grant:
    """A limit and what is used of it, in the controller's unit."""

    limit: int
    used: int


def granted(
    controller: str, limit2: str, limit1: str, used2: str, used1: str, *, below: int | None = None, root: Path = ROOT
) -> Grant | None:
    """The tightest limit of a controller over our group and those above it; None when there is none.

    limit2, used2: files of version 2; limit1, used1: of version 1. below: limits from there on are no limits.
    """
    found: list[Grant] = []
    for folder, version in _groups(controller, root):
        limit, used = (limit2, used2) if version == 2 else (limit1, used1)
        bound = _number(folder / limit)
        if bound is not None and (below is None or bound < below):
            found.append(Grant(bound, _number(folder / used) or 0))
    return min(found, key=lambda grant: grant.limit - grant.used, default=None)


def _groups(controller: str, root: Path) -> Iterator[tuple[Path, int]]:
    """Folders of our group and those above it, with the version; source: cgroups(7)."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        number, names, path = line.split(":", 2)
        if number == "0":
            mounted = [(root, 2), (root / "unified", 2)]
        elif controller in names.split(","):
            mounted = [(root / names, 1), (root / controller, 1)]
        else:
            continue
        below = Path(path.lstrip("/"))
        for folder, version in mounted:
            yield from ((folder / part, version) for part in (below, *below.parents))


def _number(file: Path) -> int | None:
    """The number in a file; None when there is none ("max", or no such file)."""
    try:
        text = file.read_text(encoding="utf-8").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
