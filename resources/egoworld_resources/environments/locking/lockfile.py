"""Reading a lock: locks/pylock.<env>.toml (PEP 751) and the digests made of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Final

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from egoworld_resources.environments.declaration import read_toml
from egoworld_resources.environments.errors import BadDeclaration, LockEdited, LockMissing, LockStale

LINUX: Final = {
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "sys_platform": "linux",
}
"""The one platform: linux-64 with CPython."""

PYTHONS: Final = ("3.11", "3.12", "3.13")
"""Versions of Python that a model env may ask for."""


def lowest_python(requires: str) -> str:
    """The oldest of PYTHONS inside a requires-python, "3.11" for ">=3.11"; raises ValueError when none is."""
    allowed = SpecifierSet(requires)
    for python in PYTHONS:
        if allowed.contains(f"{python}.99"):
            return python
    raise ValueError(f"requires-python '{requires}' allows no supported version: {', '.join(PYTHONS)}")


def marker_environment(python: str) -> dict[str, str]:
    """The values of environment markers on linux-64 under ``python`` ("3.11")."""
    full = {"python_version": python, "python_full_version": f"{python}.99", "implementation_version": f"{python}.99"}
    return {**LINUX, **full, "extra": ""}


def source_of(
    dependencies: Sequence[str], requires_python: str, sdists: Sequence[str] = (), overrides: Sequence[str] = ()
) -> str:
    """Digest of everything that a lock is made from; order and spelling of the requirements do not count."""
    content = {
        "dependencies": _spelled(tuple(dependencies)),
        "overrides": _spelled(tuple(overrides)),
        "python": str(SpecifierSet(requires_python)),
        "sdists": sorted(canonicalize_name(name) for name in sdists),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@lru_cache(64)  # the requirements of our own interpreter are those of many envs
def _spelled(requirements: tuple[str, ...]) -> list[str]:
    parsed = [Requirement(text) for text in requirements]
    for requirement in parsed:
        requirement.name = canonicalize_name(requirement.name)
    return sorted(str(requirement) for requirement in parsed)


class Lock:
    """A parsed lock file."""

    def __init__(self, path: Path, document: dict[str, Any]) -> None:
        self.path = path
        self._document = document
        self.entries: list[dict[str, Any]] = document.get("packages", [])

    @classmethod
    def read(cls, env: str, path: Path) -> Lock:
        """Raises LockMissing with the command that makes it, BadDeclaration when it is not a lock."""
        if not path.is_file():
            raise LockMissing(env, path)
        document = read_toml(path)
        if document.get("lock-version") != "1.0":
            raise BadDeclaration(path, "lock-version", f"must be '1.0' (PEP 751), not {document.get('lock-version')!r}")
        return cls(path, document)

    @property
    def requires_python(self) -> str:
        """Versions of Python that the lock is for."""
        return str(self._document.get("requires-python", ">=3.11"))

    @property
    def source(self) -> str | None:
        """Digest of the declaration that the lock was made from."""
        return self._document.get("tool", {}).get("egoworld", {}).get("source")

    @property
    def profile(self) -> str:
        """The profile of envs/policy.toml that it was made under; "" for that of the servers."""
        return self._document.get("tool", {}).get("egoworld", {}).get("profile", "")

    @property
    def python(self) -> str:
        """Its requires-python."""
        return self._document.get("requires-python", "")

    def check(self, env: str, source: str, declared_in: Path) -> None:
        """Raise LockStale unless the lock was made from ``source``, LockEdited when it was changed since."""
        if self.source != source:
            raise LockStale(env, self.path, declared_in)
        if self.seal != (self.digest, addresses_of(self.entries)):
            raise LockEdited(env, self.path)

    @property
    def seal(self) -> tuple[str | None, str | None]:
        """The digests that the lock had when it was written: of what is installed, and of where it comes from."""
        own = self._document.get("tool", {}).get("egoworld", {})
        return own.get("digest"), own.get("addresses")

    @property
    def resolved(self) -> str:
        """sha256 of uv's own lock that this one was made from; "" where there is none."""
        return self._document.get("tool", {}).get("egoworld", {}).get("resolved", "")

    @cached_property
    def digest(self) -> str:
        """sha256 over packages, versions, markers and file hashes; comments, addresses and dates do not count."""
        return digest_of(self.entries)

    def packages(self, python: str) -> dict[str, str]:
        """Name to version of what gets installed under ``python``; a package without a version has its commit."""
        environment = marker_environment(python)
        found: dict[str, str] = {}
        for entry in self.entries:
            marker = entry.get("marker")
            if marker is None or Marker(marker).evaluate(environment):
                found[entry["name"]] = entry.get("version") or entry.get("vcs", {}).get("commit-id", "unversioned")
        return dict(sorted(found.items()))


def built_from(entry: Mapping[str, Any]) -> str:
    """The git requirement that a wheel of a lock was built from here; "" for one of an index."""
    return str(entry.get("tool", {}).get("egoworld", {}).get("git", ""))


def addresses_of(entries: Sequence[dict[str, Any]]) -> str:
    """sha256 over where the packages of a lock come from: indexes, addresses and paths of files, repositories."""
    content = sorted(json.dumps(_places(entry), sort_keys=True) for entry in entries)
    return hashlib.sha256("\n".join(content).encode()).hexdigest()


def _places(entry: dict[str, Any]) -> dict[str, Any]:
    files = [
        *entry.get("wheels", []),
        *(entry[key] for key in ("sdist", "archive", "directory", "vcs") if key in entry),
    ]
    return {
        "name": entry["name"],
        "index": entry.get("index", ""),
        "files": [{key: value for key, value in file.items() if key != "hashes"} for file in files],
    }


def digest_of(entries: Sequence[dict[str, Any]]) -> str:
    """sha256 over what the packages of a lock are."""
    content = sorted(json.dumps(_content(entry), sort_keys=True) for entry in entries)
    return hashlib.sha256("\n".join(content).encode()).hexdigest()


def _content(entry: dict[str, Any]) -> dict[str, Any]:
    files = [*entry.get("wheels", []), *([entry["sdist"]] if "sdist" in entry else [])]
    if "archive" in entry:
        files.append(entry["archive"])
    return {
        "name": entry["name"],
        "version": entry.get("version"),
        "marker": entry.get("marker"),
        "commit": entry.get("vcs", {}).get("commit-id") or built_from(entry) or None,
        "hashes": sorted(json.dumps(file.get("hashes", {}), sort_keys=True) for file in files),
    }
