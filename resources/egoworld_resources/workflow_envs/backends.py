"""What a backend of envs does: declarations and locks in a folder, and a whole env made from such a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from egoworld_resources.environments.building.generations import Ready


@dataclass(frozen=True)
class Declared:
    """What the files of an env say. declaration, lock: their texts; locked_versions: name to version."""

    python_version: str
    dependencies: tuple[str, ...]
    locked_versions: dict[str, str]
    declaration: str
    lock: str


@dataclass(frozen=True)
class Wish:
    """A wanted change of a declaration. python: "" keeps it; packages: None keeps them; upgrade: newest that fit."""

    python: str
    packages: Sequence[str] | None = None
    upgrade: bool = False


class Backend(Protocol):
    """Makes and changes the files of an env in a scratch folder, and installs what they lock.

    Errors: InvalidPackages, DependencyNotFound, ResolutionFailed, PolicyRefused, PythonNotFound, IndexSilent, NoSpace,
    UvAbsent, NotAccessible, and UvFailed or CondaFailed for everything else.
    """

    @property
    def name(self) -> str:
        """As callers choose it: "uv" or "conda"."""
        ...

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the declaration and of the locks; an env keeps them beside what is installed."""
        ...

    @property
    def folders(self) -> tuple[str, ...]:
        """Names of folders that belong to these files, such as wheels that were built for them; any may be absent."""
        ...

    def start(self, folder: Path, env: str, wish: Wish) -> None:
        """Write the declaration and lock of a new env into the empty ``folder``."""
        ...

    def add(self, folder: Path, packages: Sequence[str]) -> None:
        """Declare more packages and lock again."""
        ...

    def remove(self, folder: Path, packages: Sequence[str]) -> None:
        """Declare fewer packages and lock again; packages are names alone."""
        ...

    def update(self, folder: Path, wish: Wish) -> None:
        """Another Python, another list of packages, or newer versions."""
        ...

    def digest(self, folder: Path) -> str:
        """sha256 of what the lock installs: two envs of one digest hold the same files."""
        ...

    def declared(self, folder: Path) -> Declared:
        """What the files in ``folder`` (of a generation too) say."""
        ...

    def install(self, folder: Path, generation: Path, held: int, *, trust: bool, operation: str) -> Ready:
        """Make the new folder ``generation`` hold what the lock in ``folder`` names, and the files of ``folder``.

        ``held``: descriptor of the env's lock, inherited by programs that are started. ``trust``: files of the cache
        that are known to be whole are not read again.
        """
        ...

    def stamp(self, generation: Path) -> str:
        """Digest that changes when somebody writes into the env; as in its Ready when all is well."""
        ...

    def licences(self, generation: Path) -> Mapping[tuple[str, str], str]:
        """Licence by name and version of each installed package, "" where its metadata is silent."""
        ...

    def damaged(self, generation: Path) -> list[str]:
        """Files whose bytes are not those that were installed."""
        ...
