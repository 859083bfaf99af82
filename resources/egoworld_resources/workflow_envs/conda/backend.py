"""Envs of conda packages: for what PyPI lacks, such as nvcc, gcc, cmake, ffmpeg and R.

<generation>/                       the prefix itself: conda writes the paths of its files into them, and a generation
                                    is made where it stays, so nothing has to be rewritten when it becomes the live one
<generation>/environment.yml        declaration
<generation>/conda-linux-64.lock    @EXPLICIT lock, every file with its sha256
<cache>/archives, <cache>/unpacked  what was fetched, and its files, which the envs hardlink

Scripts that packages bring to be run after linking are never run.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from egoworld_resources.environments.building.generations import BUILD_LOCK, Ready
from egoworld_resources.environments.building.installed_files import Files
from egoworld_resources.leases.locks import locked
from egoworld_resources.workflow_envs.backends import Declared, Wish
from egoworld_resources.workflow_envs.conda import prefix
from egoworld_resources.workflow_envs.conda.adapter import Rattler
from egoworld_resources.workflow_envs.conda.archives import Archives
from egoworld_resources.workflow_envs.conda.declaration import FILE, LOCK, Declaration, merged, name_of, python_spec
from egoworld_resources.workflow_envs.conda.linking import link_whole
from egoworld_resources.workflow_envs.conda.packages import (
    Locked,
    Package,
    check_channels,
    check_seal,
    digest_of,
    read_explicit,
    write_explicit,
)
from egoworld_resources.workflow_envs.conda.specs import Specs
from egoworld_resources.workflow_envs.errors import DependencyNotFound, PythonNotFound, ResolutionFailed

log = logging.getLogger(__name__)

PYTHON = "bin/python"
SERVER: Mapping[str, str] = {"__unix": "0", "__linux": "6.1", "__glibc": "2.36", "__archspec": "1=x86_64"}
"""Virtual packages that describe the machine, as VERSION or VERSION=BUILD: Debian 12, without a GPU."""


class CondaBackend:
    """Solves with rattler for linux-64, in the order of ``channels``, and links what is locked.

    channels: by name or address; virtual: what the machine has ({"__glibc": "2.36", "__cuda": "12.4"}): ``__cuda``
    set here lets a machine without a GPU lock an env for one that has it. cache: on the partition of the envs;
    foreign: see ``adopting``.
    """

    name = "conda"
    files = (FILE, LOCK)
    folders = ()

    def __init__(
        self,
        cache: Path,
        channels: Sequence[str],
        virtual: Mapping[str, str] = SERVER,
        rattler: Rattler | None = None,
        foreign: Locked | None = None,
    ) -> None:
        self._cache = cache
        self._channels = tuple(channels)
        self._foreign = foreign
        self._rattler = rattler or Rattler(cache)
        self._virtual = dict(virtual)
        self.specs = Specs(self._rattler, channels)
        self.archives = Archives(cache / "archives", self._rattler)

    def adopting(self, foreign: Locked) -> CondaBackend:
        """This backend, but its envs begin with what another program locked instead of being solved for."""
        return CondaBackend(self._cache, self._channels, self._virtual, self._rattler, foreign)

    def start(self, folder: Path, env: str, wish: Wish) -> None:
        """An env with the packages that are wished for; Python too, unless it is "none" or they name it themselves."""
        if self._foreign:
            specs, packages = self.specs.parsed(self._foreign.dependencies), self._foreign.packages
            self._write(folder, Declaration(env, self.specs.channels, merged((), specs)), packages)
        else:
            specs = merged(python_spec(wish.python), self.specs.parsed(wish.packages or ()))
            self._resolve(folder, env, specs, ())

    def add(self, folder: Path, packages: Sequence[str]) -> None:
        """Put in place of what is declared by the same names; locked versions stay where they still fit."""
        declaration = Declaration.read(folder)
        wanted = merged(declaration.dependencies, self.specs.parsed(packages))
        self._resolve(folder, declaration.name, wanted, self._locked(folder))

    def remove(self, folder: Path, packages: Sequence[str]) -> None:
        """Take names out of the declaration."""
        declaration = Declaration.read(folder)
        names, known = self.specs.names(packages), {name_of(spec): spec for spec in declaration.dependencies}
        if missing := set(names) - set(known):
            raise DependencyNotFound(missing, known)
        left = tuple(spec for name, spec in known.items() if name not in names)
        self._resolve(folder, declaration.name, left, self._locked(folder))

    def update(self, folder: Path, wish: Wish) -> None:
        """Another list or Python; locked versions stay where they still fit, unless it is an upgrade."""
        declaration, now = Declaration.read(folder), self.declared(folder).python_version
        declared = {name_of(spec): spec for spec in declaration.dependencies}
        python = declared.pop("python", "")
        kept = [python] if python and wish.python in ("", now) else python_spec(wish.python or now)
        others = list(declared.values()) if wish.packages is None else self.specs.parsed(wish.packages)
        wanted = merged(kept, others)
        self._resolve(folder, declaration.name, wanted, () if wish.upgrade else self._locked(folder))

    def digest(self, folder: Path) -> str:
        """Over name, version, build and sha256 of every package."""
        return digest_of(self._locked(folder))

    def declared(self, folder: Path) -> Declared:
        """From environment.yml and the lock; python_version is "" when the env has no Python."""
        locked = {one.name: one.version for one in self._locked(folder)}
        return Declared(
            python_version=".".join(locked.get("python", "").split(".")[:2]),
            dependencies=Declaration.read(folder).dependencies,
            locked_versions=locked,
            declaration=(folder / FILE).read_text(encoding="utf-8"),
            lock=(folder / LOCK).read_text(encoding="utf-8"),
        )

    def install(self, folder: Path, generation: Path, held: int, *, trust: bool, operation: str) -> Ready:
        """Each archive is compared with its sha256, wherever it comes from, and each file with its record."""
        del held  # rattler works inside this process: no program has to inherit it
        began, declaration = time.monotonic(), Declaration.read(folder)
        text = (folder / LOCK).read_text(encoding="utf-8")
        check_seal(text, declaration.words, f"env '{declaration.name}'")
        packages = read_explicit(text)
        check_channels(packages, self.specs.channels)
        self._cache.mkdir(parents=True, exist_ok=True)
        with locked(self._cache / BUILD_LOCK):
            archives = self.archives.fetched(packages)
            link_whole(self._rattler, archives, packages, generation, self._cache, trust=trust)
        for name in self.files:
            (generation / name).write_bytes((folder / name).read_bytes())
            (generation / name).chmod(0o600)
        files = Files(generation)
        log.info("built env %s of %d conda packages", declaration.name, len(packages))
        return Ready(
            env=declaration.name,
            lock_digest=digest_of(packages),
            contract="",
            python=PYTHON if os.path.lexists(generation / PYTHON) else "",
            stamp=prefix.stamp(files, self.files),
            files=len(files) - len(self.files),
            seconds=round(time.monotonic() - began, 3),
            bytes=files.size,
            operation=operation,
        )

    def stamp(self, generation: Path) -> str:
        """Over path, size and time of every file of its packages."""
        return prefix.stamp(Files(generation), self.files)

    def licences(self, generation: Path) -> Mapping[tuple[str, str], str]:
        """As conda-meta has them: SPDX expressions, mostly."""
        found = prefix.records(generation)
        return {(one["name"], one["version"]): str(one.get("license") or "") for one in found}

    def damaged(self, generation: Path) -> list[str]:
        """Every byte against conda-meta, and the lock against what was installed."""
        wrong = [file for files in prefix.damaged(generation).values() for file in files]
        ready = Ready.read(generation)
        return [*wrong, *([LOCK] if ready and ready.lock_digest != self.digest(generation) else [])]

    def _resolve(self, folder: Path, env: str, dependencies: tuple[str, ...], locked: Sequence[Package]) -> None:
        channels = self.specs.channels
        try:
            packages = self._rattler.solve(channels, dependencies, locked, self._virtual) if dependencies else []
        except ResolutionFailed as error:
            self._explain_python(dependencies, error)
            raise
        self._write(folder, Declaration(env, channels, dependencies), packages)

    def _explain_python(self, dependencies: Sequence[str], error: ResolutionFailed) -> None:
        """Raise PythonNotFound when no channel has a Python that fits."""
        wanted = next((spec for spec in dependencies if name_of(spec) == "python"), "")
        known = self._rattler.offered(self.specs.channels, wanted) if wanted else {"": True}
        if not any(known.values()):
            raise PythonNotFound(
                f"no channel has {wanted}; there are: {', '.join(known) or 'none'}", known=list(known)
            ) from error

    def _locked(self, folder: Path) -> tuple[Package, ...]:
        return read_explicit((folder / LOCK).read_text(encoding="utf-8"))

    def _write(self, folder: Path, declaration: Declaration, packages: Sequence[Package]) -> None:
        check_channels(packages, declaration.channels)
        declaration.write(folder)
        (folder / LOCK).write_text(write_explicit(packages, declaration.words), encoding="utf-8")
