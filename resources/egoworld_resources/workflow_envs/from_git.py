"""Packages of a project that come from git: built once, then locked and installed as wheels stored next to the lock.

<folder of the env>/built/<digest>/<wheel>   what the sandbox built; the pylock has its sha256 and the commit

uv never sees an address: it resolves a copy of the declaration in which these packages are files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from egoworld_resources.environments.locking.lockfile import built_from
from egoworld_resources.workflow_envs.building_wheels import WheelBuilder
from egoworld_resources.workflow_envs.errors import InvalidPackages
from egoworld_resources.workflow_envs.requirements import git_source

FOLDER = "built"


@dataclass(frozen=True)
class Parts:
    """A declaration, part of which comes from git. git: by canonical name; others: what an index serves."""

    others: tuple[Requirement, ...]
    git: Mapping[str, Requirement] = field(default_factory=dict[str, Requirement])

    @classmethod
    def after(cls, before: Iterable[Requirement], wanted: Sequence[Requirement], removed: Iterable[str] = ()) -> Parts:
        """What a project declares when uv has yet to add ``wanted`` from an index, or to remove what comes from one.

        A package that is wanted from git, or came from there and is wanted or removed, is not declared twice. Raises
        InvalidPackages for two requirements about one package from git.
        """
        names = {canonicalize_name(one.name) for one in wanted} | set(removed)
        fresh = {canonicalize_name(one.name) for one in wanted if one.url}
        kept = [one for one in before if canonicalize_name(one.name) not in (names if one.url else fresh)]
        git: dict[str, Requirement] = {}
        for one in [*kept, *wanted]:
            name = canonicalize_name(one.name)
            if name in git or (not one.url and name in fresh):
                raise InvalidPackages(f"{one.name} is requested both from git and in another way; request it once")
            if one.url:
                git[name] = one
        return cls(tuple(one for one in kept if not one.url), git)

    def bare(self) -> list[str]:
        """The declaration without addresses: those from git by name, with extras and markers."""
        return [*map(str, self.others), *map(_bare, self.git.values())]

    def restored(self, dependencies: Iterable[str]) -> list[str]:
        """The declaration as uv left it, with the addresses again."""
        named = {name: str(one) for name, one in self.git.items()}
        return [named.get(canonicalize_name(Requirement(text).name), text) for text in dependencies]


def _bare(one: Requirement) -> str:
    extras = f"[{','.join(sorted(one.extras))}]" if one.extras else ""
    return f"{one.name}{extras}" + (f"; {one.marker}" if one.marker else "")


def wheels_for(
    git: Mapping[str, Requirement], folder: Path, locked: Sequence[dict[str, Any]], builder: WheelBuilder
) -> dict[str, str]:
    """Path of a wheel below ``folder`` for each package: the one that is locked for the same commit, else a new one.

    locked: packages of the lock that the folder has so far, for the same Python. Raises what building raises.
    """
    known = {built_from(entry): entry["wheels"][0] for entry in locked if built_from(entry)}
    found: dict[str, str] = {}
    for name, requirement in git.items():
        source = git_source(requirement)
        assert source is not None
        before = known.get(str(source))
        if before and _is_whole(folder / before["path"], before["hashes"]["sha256"]):
            found[name] = before["path"]
            continue
        with TemporaryDirectory(prefix=f"{folder.name}-build-", dir=folder.parent) as work:
            wheel = builder.build(requirement.name, source, Path(work))
        path = f"{FOLDER}/{wheel.sha256[:16]}/{wheel.file}"
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(wheel.content)
        found[name] = path
    return found


def as_wheels(entries: Iterable[dict[str, Any]], git: Mapping[str, Requirement]) -> list[dict[str, Any]]:
    """Packages of a lock; those that were built are wheels with the commit that they are made of."""
    return [_as_wheel(entry, git) for entry in entries]


def _as_wheel(entry: dict[str, Any], git: Mapping[str, Requirement]) -> dict[str, Any]:
    requirement = git.get(canonicalize_name(entry["name"]))
    archive = entry.get("archive")
    if requirement is None or not archive or not str(archive.get("path", "")).startswith(f"{FOLDER}/"):
        return entry
    kept = {key: value for key, value in entry.items() if key != "archive"}
    return {**kept, "wheels": [archive], "tool": {"egoworld": {"git": str(git_source(requirement))}}}


def _is_whole(file: Path, sha256: str) -> bool:
    return file.is_file() and hashlib.sha256(file.read_bytes()).hexdigest() == sha256
