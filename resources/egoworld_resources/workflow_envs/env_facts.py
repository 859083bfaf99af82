"""What is known of one env, read from its live generation."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from egoworld_resources.environments.building.generations import READY, Generations, Ready
from egoworld_resources.environments.policy.licences import LicenceRules
from egoworld_resources.workflow_envs.backends import Backend, Declared
from egoworld_resources.workflow_envs.keys import EnvKey


@dataclass(frozen=True)
class EnvFacts:
    """An env as it is on disk. env_path: its folder, of which python is in the live generation; bytes: of its
    packages, those shared with other envs included; status: "ready", or "damaged" when files were written to since;
    changed: False as the answer to an operation that had nothing to do.
    """

    key: EnvKey
    backend: str
    env_path: Path
    python: Path
    generation: str
    status: str
    lock_digest: str
    bytes: int
    created_at: float
    declared: Declared
    changed: bool = True


@dataclass(frozen=True)
class PackageLicence:
    """What an installed package is licensed under. refused: why the policy would not take it, "" when it does."""

    name: str
    version: str
    licence: str
    refused: str


def judged(stated: Mapping[tuple[str, str], str], rules: LicenceRules) -> list[PackageLicence]:
    """Licences by name and version against the rules; a licence that a person read counts as stated."""
    return [
        PackageLicence(name, version, rules.told.get(name, "") or licence, rules.of_package(name, licence))
        for (name, version), licence in sorted(stated.items())
    ]


def unreadable(key: EnvKey, folder: Path) -> EnvFacts:
    """An env of which too little is left to say more than that it is there."""
    generation = folder
    with suppress(PermissionError):
        generation = Generations(folder).current() or folder
    nothing = Declared("", (), {}, "", "")
    at = folder.stat().st_mtime
    return EnvFacts(key, "", folder, generation / "bin" / "python", generation.name, "damaged", "", 0, at, nothing)


def read(key: EnvKey, generation: Path, ready: Ready, backend: Backend, stamp: str) -> EnvFacts:
    """The facts of the live ``generation`` of an env. stamp: of its files as they are now."""
    return EnvFacts(
        key=key,
        backend=backend.name,
        env_path=generation.parent,
        python=generation / ready.python,
        generation=generation.name,
        status="ready" if stamp == ready.stamp else "damaged",
        lock_digest=ready.lock_digest,
        bytes=ready.bytes,
        created_at=(generation / READY).stat().st_mtime,
        declared=backend.declared(generation),
    )
