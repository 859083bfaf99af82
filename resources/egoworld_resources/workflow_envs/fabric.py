"""Envs of workflows: created, changed, removed and run, each step written down before it is taken."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from filecmp import cmp
from pathlib import Path
from typing import Any

from egoworld_resources.errors import BadConfiguration
from egoworld_resources.workflow_envs import env_facts
from egoworld_resources.workflow_envs.actors import Actor
from egoworld_resources.workflow_envs.backends import Backend, Wish
from egoworld_resources.workflow_envs.base import Step
from egoworld_resources.workflow_envs.code_runs import CodeRuns
from egoworld_resources.workflow_envs.env_facts import EnvFacts
from egoworld_resources.workflow_envs.errors import Damaged, EnvAlreadyExists, FabricError, InvalidPackages
from egoworld_resources.workflow_envs.inspection import Looks
from egoworld_resources.workflow_envs.keys import EnvKey
from egoworld_resources.workflow_envs.reconcile import reconcile_all
from egoworld_resources.workflow_envs.removals import Removals
from egoworld_resources.workflow_envs.space import refuse_two_partitions

log = logging.getLogger(__name__)
GRACE_S = 600.0


@dataclass(frozen=True)
class Fabric(Looks, CodeRuns, Removals):
    """All envs below one folder. ``open`` it before use; any number of processes may have it open.

    Every operation raises EnvLocked when the env is not free within ``wait_s`` seconds, AuditFailed when it cannot be
    written down (then nothing was done), and NoSpace when the disk is full (then nothing half-written stays).
    """

    def open(self) -> None:
        """Ask the database, refuse a cache on another partition, and settle what a crash left open.

        Raises BadConfiguration, AuditFailed.
        """
        for folder in (self.config.envs_base_path, self.config.uv_cache_dir):
            _make_folder(folder)
        if self.config.envs_base_path.stat().st_uid == os.geteuid():
            self.config.envs_base_path.chmod(0o700)  # declarations and logs are for nobody else on this machine
        refuse_two_partitions(self.config.envs_base_path, self.config.uv_cache_dir)
        self.operations.init()
        self.places.sweep()
        reconcile_all(self.places, self.operations)

    def create(
        self,
        key: EnvKey,
        actor: Actor,
        *,
        python_version: str = "",
        packages: Sequence[str] = (),
        backend: str = "uv",
        wait_s: float = 0,
    ) -> EnvFacts:
        """A new env. Raises EnvAlreadyExists and what resolving and installing raise."""
        chosen = self.backends.get(backend)
        if chosen is None:
            raise InvalidPackages(f"unknown backend {backend!r}; known: {', '.join(self.backends)}")
        wish = Wish(python_version or self.config.default_python, tuple(packages))
        with self._changing(key, wait_s) as held:
            if self.places.generations(key).current() is not None:
                raise EnvAlreadyExists(key)
            details = {"packages": list(packages), "python_version": wish.python, "backend": backend}
            with self._written_down("create", key, actor, details) as step:
                return self._replaced(
                    key, chosen, held, step, lambda folder: chosen.start(folder, project_name(key), wish)
                )

    def add(self, key: EnvKey, packages: Sequence[str], actor: Actor, *, wait_s: float = 0) -> EnvFacts:
        """Declare more packages."""
        if not packages:
            raise InvalidPackages("name at least one package")
        details = {"packages": list(packages)}
        return self._change("add", key, actor, details, wait_s, lambda backend, at: backend.add(at, packages))

    def remove(self, key: EnvKey, packages: Sequence[str], actor: Actor, *, wait_s: float = 0) -> EnvFacts:
        """Declare less. Raises DependencyNotFound for what was not declared."""
        if not packages:
            raise InvalidPackages("name at least one package")
        details = {"packages": list(packages)}
        return self._change("remove", key, actor, details, wait_s, lambda backend, at: backend.remove(at, packages))

    def update(
        self,
        key: EnvKey,
        actor: Actor,
        *,
        python_version: str = "",
        packages: Sequence[str] | None = None,
        upgrade: bool = False,
        wait_s: float = 0,
    ) -> EnvFacts:
        """Another Python, another list of packages (None keeps it), or the newest versions that fit."""
        details = {"packages": packages and list(packages), "python_version": python_version, "upgrade": upgrade}

        wish = Wish(python_version, packages, upgrade)
        return self._change("update", key, actor, details, wait_s, lambda backend, at: backend.update(at, wish))

    def sync(self, key: EnvKey, actor: Actor, *, wait_s: float = 0) -> EnvFacts:
        """Make the env again from its lock, whatever happened to its other files."""
        return self._change("sync", key, actor, {}, wait_s, lambda _backend, _folder: None, remake=True)

    def _change(
        self,
        action: str,
        key: EnvKey,
        actor: Actor,
        details: Mapping[str, Any],
        wait_s: float,
        make: Callable[[Backend, Path], None],
        *,
        remake: bool = False,
    ) -> EnvFacts:
        with self._changing(key, wait_s) as held:
            _, ready, backend = self._left(key) if remake else self._live(key)
            if backend is None:
                raise Damaged(f"env {key}: its declaration and lock are gone; delete it and create it again")
            with self._written_down(action, key, actor, details, ready.lock_digest if ready else "") as step:
                return self._replaced(key, backend, held, step, lambda folder: make(backend, folder), remake=remake)

    def _replaced(
        self,
        key: EnvKey,
        backend: Backend,
        held: int,
        step: Step,
        make: Callable[[Path], None],
        *,
        remake: bool = False,
    ) -> EnvFacts:
        """A new generation whose files ``make`` decides, beside the live one, swapped when it is whole.

        Identical files change nothing, unless ``remake``.
        """
        generations = self.places.generations(key)
        live = generations.current()
        with self.places.scratch() as folder:
            if live:
                for name in backend.files:
                    shutil.copyfile(live / name, folder / name)
                for name in backend.folders:
                    if (live / name).is_dir():
                        shutil.copytree(live / name, folder / name)
            make(folder)
            if live and not remake and all(cmp(live / name, folder / name, shallow=False) for name in backend.files):
                step.lock_after, step.message = backend.digest(folder), "nothing to change"
                return replace(self.get(key), changed=False)
            generation = generations.fresh(backend.digest(folder))
            ready = backend.install(folder, generation, held, trust=True, operation=step.began.id)
            ready.write(generation)
            generations.swap(generation)
        step.lock_after = ready.lock_digest
        self._collect(key)
        return env_facts.read(key, generation, ready, backend, ready.stamp)

    def _collect(self, key: EnvKey) -> None:
        try:
            with self.places.unused(key):
                self.places.generations(key).collect(GRACE_S)
        except FabricError:
            return  # code runs in it: the next change collects
        except OSError as error:  # the change itself has taken effect
            log.warning("an older generation of env %s stays: %s", key, error)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadConfiguration(
            f"the folder {folder} cannot be made: {error.strerror}; name another with EGOWORLD_HOME, ENVS_BASE_PATH or "
            "UV_CACHE_DIR"
        ) from error


def project_name(key: EnvKey) -> str:
    """The name in the declaration of an env: its parts joined by "-"."""
    return "-".join(part for part in key.parts if part).rstrip("._-")
