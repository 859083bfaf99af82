"""The catalog of model envs: which envs there are, which stages they serve, from which lock and which source."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path

from egoworld_resources.environments.contract import contract_folder, root_source, runner_dependencies
from egoworld_resources.environments.declaration import OWN, ModelEnv, StageModel, Weights, read_env
from egoworld_resources.environments.errors import BadDeclaration
from egoworld_resources.environments.locking.lockfile import Lock, lowest_python, source_of
from egoworld_resources.environments.source_digest import closure, imported_names, source_digest
from egoworld_resources.environments.sources import Sources
from egoworld_resources.errors import BadConfiguration, UnknownName

__all__ = ["BASE", "Catalog", "ModelEnv", "StageModel", "Weights"]

DECIDES_CONTENTS = ("runner", "writer")
"""Modules of the contract whose closure decides contents: the frames and inputs passed in, the rows accepted."""

BASE = "base"
"""The env that is our own interpreter; its lock is that of the root pyproject.toml."""

Folders = Path | Iterable[Path]


class Catalog:
    """The model envs of one or more envs folders, with the locks of one or more locks folders."""

    def __init__(
        self,
        envs: Mapping[str, ModelEnv],
        envs_folders: tuple[Path, ...],
        locks_folders: tuple[Path, ...],
        broken: Mapping[str, BadDeclaration] | None = None,
        sources: Sources | None = None,
    ) -> None:
        self._envs = dict(envs)
        self.envs_folders = envs_folders
        self.locks_folders = locks_folders
        self._broken = dict(broken or {})
        self._sources = sources

    @classmethod
    def load(
        cls, envs_folder: Folders, locks_folder: Folders, *, apart: bool = False, sources: Sources | None = None
    ) -> Catalog:
        """Read every ``<envs_folder>/<name>/pyproject.toml``; raises BadDeclaration naming the file and the field.

        apart: a wrong declaration does not affect the other envs: the error is raised when that env is used.
        sources: as they were read first, for all digests; without it each digest reads them again.
        """
        envs_folders, locks_folders = _folders(envs_folder), _folders(locks_folder)
        envs: dict[str, ModelEnv] = {}
        broken: dict[str, BadDeclaration] = {}
        for parent in envs_folders:
            if not parent.is_dir():
                raise BadConfiguration(
                    f"the envs folder {parent} does not exist; give the folder that holds the model envs"
                )
            for folder in sorted(entry for entry in parent.iterdir() if entry.is_dir()):
                try:
                    env = read_env(folder)
                except BadDeclaration as error:
                    if not apart:
                        raise
                    broken[folder.name] = error
                    continue
                if env is None:
                    continue
                if env.name in envs:
                    raise BadDeclaration(env.pyproject, "folder", f"env '{env.name}' is also {envs[env.name].folder}")
                envs[env.name] = env
        for env in list(envs.values()):
            if fault := _unshared(env, envs, broken):
                if not apart:
                    raise fault
                del envs[env.name]
                broken[env.name] = fault
        return cls(envs, envs_folders, locks_folders, broken, sources)

    @property
    def names(self) -> list[str]:
        """Names of all model envs, sorted."""
        return sorted(self._envs)

    @property
    def stages(self) -> list[str]:
        """Names of all stages that at least one env serves, sorted."""
        return sorted({stage for env in self._envs.values() for stage in env.stages})

    def env(self, name: str) -> ModelEnv:
        """Raises UnknownName with the envs that exist, BadDeclaration for one that was set apart."""
        if name in self._broken:
            raise self._broken[name]
        if name not in self._envs:
            raise UnknownName("model env", name, self._envs)
        return self._envs[name]

    def host(self, name: str) -> ModelEnv:
        """The env in whose interpreter ``name`` runs; ``name`` itself where that is our own. Raises as ``env`` does."""
        found = self.env(name)
        return found if found.runs_in == BASE else self.env(found.runs_in)

    def serving(self, stage: str) -> list[str]:
        """Names of the envs that serve ``stage``, sorted; raises UnknownName when there is none."""
        found = [name for name in self.names if stage in self._envs[name].stages]
        if not found:
            raise UnknownName("stage", stage, self.stages)
        return found

    def model(self, stage: str, env: str) -> StageModel:
        """How ``env`` serves ``stage``; raises UnknownName with the envs that do, BadDeclaration without its files."""
        found = self.env(env)
        if stage not in found.stages:
            raise UnknownName(f"env for stage '{stage}'", env, self.serving(stage))
        found.stages[stage].check()
        return found.stages[stage]

    def lock_path(self, env: str) -> Path:
        """Path of the lock of ``env``, whether or not it exists yet: in ``locks`` next to its envs folder."""
        found = self.host(env)
        file = f"pylock.{found.runs_in}.toml"
        for folder in self.locks_folders:
            if (folder / file).is_file():
                return folder / file
        beside = [folder for folder in self.locks_folders if folder.parent == found.folder.parent.parent]
        return (beside or self.locks_folders)[0] / file

    def lock(self, env: str) -> Lock:
        """The lock of ``env``; raises LockMissing, or LockStale when the declaration changed since."""
        found = self.host(env)
        lock = Lock.read(found.runs_in, self.lock_path(env))
        lock.check(found.runs_in, self.lock_source(env), self._declared_in(found))
        return lock

    def lock_source(self, env: str) -> str:
        """Digest of all that the lock of ``env`` is made from, the needs of the runner contract included."""
        found = self.host(env)
        if found.runs_in == BASE:
            return root_source(self._declared_in(found))
        dependencies = [*found.dependencies, *runner_dependencies()]
        return source_of(dependencies, found.python, found.sdists, found.overrides)

    def lock_digest(self, env: str) -> str:
        """sha256 of what the lock of ``env`` installs; see Lock.digest."""
        return self.lock(env).digest

    def packages(self, env: str) -> dict[str, str]:
        """Name to version of everything that is installed in ``env``."""
        return self.lock(env).packages(lowest_python(self.env(env).python))

    def runner_digest(self, stage: str, env: str) -> str:
        """Digest of the runner's module, the modules of its folder that it imports, and its declared data files.

        Modules of the contract that only some runners import (the contract's own digest leaves them out) count as well.
        """
        model, package = self.model(stage, env), contract_folder()
        sources = self._sources or Sources()
        files = closure(sources, model.folder, model.module)
        own = source_digest(sources, model.folder, files, model.data_files())
        named = closure(sources, package.parent, *imported_names(sources, files, package.name))
        shared = set(named) - set(_contract_files(sources))
        more = source_digest(sources, package.parent, shared) if shared else ""
        sources.keep()
        return sha256(f"{own} {more}".encode()).hexdigest() if shared else own

    def contract_digest(self) -> str:
        """Digest of the part of egoworld_runner that decides what a runner receives and what happens to its rows.

        How a process is started, reported on and ended is not in it: a change of that makes nothing stale.
        """
        sources = self._sources or Sources()
        return source_digest(sources, contract_folder().parent, _contract_files(sources))

    def _declared_in(self, env: ModelEnv) -> Path:
        if env.runs_in != BASE:
            return env.pyproject
        beside = [folder.parent / "pyproject.toml" for folder in self.locks_folders]
        return next((file for file in beside if file.is_file()), beside[0])


def _unshared(
    env: ModelEnv, envs: Mapping[str, ModelEnv], broken: Mapping[str, BadDeclaration]
) -> BadDeclaration | None:
    """Why an env cannot run in the interpreter that it names; None when it can."""
    if env.runs_in in (BASE, env.name):
        return None
    if env.runs_in in broken:
        return broken[env.runs_in]
    host, field = envs.get(env.runs_in), "tool.egoworld.interpreter"
    if host is None or host.interpreter != OWN:
        known = ", ".join(f"'{name}'" for name in sorted(envs) if envs[name].interpreter == OWN and name != env.name)
        reason = f"'{env.runs_in}' is no env with an interpreter of its own; known: 'env', 'base'"
        return BadDeclaration(env.pyproject, field, f"{reason}, {known}" if known else reason)
    if env.python != host.python:
        reason = f"must be '{host.python}', as that of '{host.name}', whose interpreter it names"
        return BadDeclaration(env.pyproject, "project.requires-python", reason)
    return None


def _contract_files(sources: Sources) -> list[Path]:
    package = contract_folder()
    return closure(sources, package.parent, *(f"{package.name}.{module}" for module in DECIDES_CONTENTS))


def _folders(folders: Folders) -> tuple[Path, ...]:
    return (folders.absolute(),) if isinstance(folders, Path) else tuple(folder.absolute() for folder in folders)
