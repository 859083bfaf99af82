"""Conda packages as a lock names them: file by address and sha256, in the text format that conda calls explicit."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from egoworld_resources.workflow_envs.errors import Damaged, InvalidPackages, PolicyRefused

PLATFORM = "linux-64"
SUBFOLDERS = (PLATFORM, "noarch")
"""Of a channel; packages for other machines are refused."""

PART = r"[A-Za-z0-9._+!~]+"
FILE = re.compile(rf"(?P<name>[a-z0-9_.-]+)-(?P<version>{PART})-(?P<build>{PART})\.(?:conda|tar\.bz2)")
LINE = re.compile(r"(?P<url>[^#\s]+)(?:#(?:(?P<md5>[0-9a-f]{32})|(?:sha256:)?(?P<sha256>[0-9a-f]{64})))?")
EXPLICIT = "@EXPLICIT"
SEAL = "# egoworld: "


@dataclass(frozen=True, order=True)
class Package:
    """One file of a channel. url: where it is stored; sha256: of the archive, hexadecimal."""

    name: str
    version: str
    build: str
    url: str
    sha256: str

    @classmethod
    def of(cls, url: str, sha256: str) -> Package:
        """Read name, version and build from the name of the file. Raises InvalidPackages."""
        *_, folder, file = ["", *url.rsplit("/", 2)]
        found = FILE.fullmatch(file)
        if not found or "://" not in url:
            raise InvalidPackages(f"{url!r} is not the address of a conda package (….conda or ….tar.bz2)")
        if folder not in SUBFOLDERS:
            raise InvalidPackages(f"{url}: only packages for {PLATFORM} and noarch are taken")
        return cls(found["name"], found["version"], found["build"], url, sha256)

    @property
    def file(self) -> str:
        """The name of the archive."""
        return self.url.rpartition("/")[2]

    @property
    def channel(self) -> str:
        """The address of its channel, ending in "/"."""
        return self.url.rsplit("/", 2)[0] + "/"


@dataclass(frozen=True)
class Locked:
    """What a foreign lock holds. dependencies: specs of the packages that no other one needs, and of Python."""

    dependencies: tuple[str, ...]
    packages: tuple[Package, ...]


def digest_of(packages: Iterable[Package]) -> str:
    """sha256 over name, version, build and sha256 of each: where they come from does not count."""
    lines = sorted(f"{one.name} {one.version} {one.build} {one.sha256}" for one in packages)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def read_explicit(text: str) -> tuple[Package, ...]:
    """The packages of an @EXPLICIT text, by name. Raises InvalidPackages quoting the first line that cannot be used.

    Format: https://conda.org/learn/ceps/cep-0023
    """
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if EXPLICIT not in lines:
        raise InvalidPackages(f"this is not an explicit lock of conda: it has no line {EXPLICIT}")
    found = sorted(_package(line) for line in lines if line != EXPLICIT)
    twice = sorted({one.name for one, other in pairwise(found) if one.name == other.name})
    if twice:
        raise InvalidPackages(f"the explicit lock names {', '.join(twice)} twice")
    return tuple(found)


def _package(line: str) -> Package:
    found = LINE.fullmatch(line)
    if not found:
        raise InvalidPackages(f"{line!r} is not a line of an explicit lock: ADDRESS#SHA256")
    if not found["sha256"]:
        raise InvalidPackages(
            f"{found['url']} has no sha256 in the lock, so what it installs cannot be checked; write it again with "
            "`conda list --explicit --sha256`"
        )
    return Package.of(found["url"], found["sha256"])


def write_explicit(packages: Iterable[Package], declared: Sequence[str]) -> str:
    """The @EXPLICIT text of ``packages``, sealed together with what was ``declared``."""
    ordered = sorted(packages)
    head = [
        "# Made by `egoworld env`; another program reads it with: conda create --name NAME --file FILE",
        f"# platform: {PLATFORM}",
        f"{SEAL}{_seal(ordered, declared)}",
        EXPLICIT,
    ]
    return "\n".join([*head, *(f"{one.url}#{one.sha256}" for one in ordered), ""])


def check_seal(text: str, declared: Sequence[str], where: str) -> None:
    """Raise Damaged when the lock or what was declared changed since it was written."""
    seal = next((line.removeprefix(SEAL) for line in text.splitlines() if line.startswith(SEAL)), "")
    if seal != _seal(sorted(read_explicit(text)), declared):
        raise Damaged(f"{where}: the lock was not made for the packages declared next to it; lock again")


def check_channels(packages: Iterable[Package], allowed: Sequence[str]) -> None:
    """Raise PolicyRefused for a package of a channel that is not ``allowed`` (addresses that end in "/")."""
    for one in packages:
        if one.channel not in allowed:
            raise PolicyRefused(
                f"{one.file} comes from {one.channel}; envs/policy.toml allows the channels {', '.join(allowed)}"
            )


def _seal(packages: Sequence[Package], declared: Sequence[str]) -> str:
    words = [*declared, "", *(f"{one.url}#{one.sha256}" for one in packages)]
    return hashlib.sha256("\n".join(words).encode()).hexdigest()
