"""Envs of workflows: created, changed, removed and run, each step written down before it is taken."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from filecmp import cmp
from pathlib import Path
from typing import Any, TypeVar

from egoworld_resources.environments.errors import some_of
from egoworld_resources.environments.fabric import facts
from egoworld_resources.environments.fabric.actors import Actor
from egoworld_resources.environments.fabric.backends import Backend, Wish
from egoworld_resources.environments.fabric.config import FabricConfig
from egoworld_resources.environments.fabric.errors import (
    AuditFailed,
    Damaged,
    EnvAlreadyExists,
    EnvNotFound,
    FabricError,
    InvalidPackages,
    PythonNotFound,
    RunTimeout,
)
from egoworld_resources.environments.fabric.facts import EnvFacts, PackageLicence
from egoworld_resources.environments.fabric.keys import EnvKey
from egoworld_resources.environments.fabric.operations import Began, Operations
from egoworld_resources.environments.fabric.places import Places
from egoworld_resources.environments.fabric.reconcile import reconcile, reconcile_all
from egoworld_resources.environments.fabric.sandbox import Bounds, Outcome, run_code
from egoworld_resources.environments.fabric.space import refuse_two_partitions, refusing_a_full_disk
from egoworld_resources.environments.generations import READY, Ready
from egoworld_resources.environments.licences import LicenceRules
from egoworld_resources.environments.words import words_into
from egoworld_resources.errors import BadConfiguration

T = TypeVar("T")
GB, MB = 10**9, 10**6
FAULT = "INTERNAL_ERROR"
CODE_FAILED = "CODE_FAILED"
"""The result of a run whose code ended with another status than 0: the service did its part."""
GRACE_S = 600.0


@dataclass
class _Step:
    """An operation on its way: what its end row will say."""

    began: Began
    lock_after: str = ""
    message: str = ""
    result: str = "ok"


@dataclass(frozen=True)
class Fabric:
    """All envs below one folder. ``open`` it before use; any number of processes may have it open.

    Every operation raises EnvLocked when the env is not free within ``wait_s`` seconds, AuditFailed when it cannot be
    written down (then nothing was done), and NoSpace when the disk is full (then nothing half-written stays).
    """

    config: FabricConfig
    backends: Mapping[str, Backend]
    operations: Operations
    licence_rules: LicenceRules = field(default_factory=LicenceRules)
    places: Places = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "places", Places(self.config.envs_base_path))

    def open(self) -> None:
        """Ask the database, refuse a cache on another partition, and settle what a crash left open.

        Raises BadConfiguration, AuditFailed.
        """
        for folder in (self.config.envs_base_path, self.config.uv_cache_dir):
            _make_folder(folder)
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

    def get(self, key: EnvKey) -> EnvFacts:
        """One env. Raises EnvNotFound."""
        return self._seen(key, lambda at, ready, backend: facts.read(key, at, ready, backend, backend.stamp(at)))

    def list(self) -> list[EnvFacts]:
        """All envs by key, damaged ones too; one that is removed meanwhile is left out."""
        found: list[EnvFacts] = []
        for key in self.places.taken():
            with suppress(EnvNotFound, OSError):
                found.append(self._listed(key))
        return found

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
        """Make the env anew from its lock, whatever happened to its other files."""
        return self._change("sync", key, actor, {}, wait_s, lambda _backend, _folder: None, anew=True)

    def verify(self, key: EnvKey) -> EnvFacts:
        """Every byte of an env against what was installed. Raises Damaged naming files."""

        def look(generation: Path, ready: Ready, backend: Backend) -> EnvFacts:
            if wrong := backend.damaged(generation):
                raise Damaged(f"env {key}: {some_of(wrong)} changed after the installation; sync it", files=wrong[:100])
            if (stamp := backend.stamp(generation)) != ready.stamp:
                raise Damaged(f"env {key}: files were touched after the installation, packages are whole; sync it")
            return facts.read(key, generation, ready, backend, stamp)

        return self._seen(key, look)

    def licences(self, key: EnvKey) -> list[PackageLicence]:
        """Under which licence each package stands, and whether the policy takes it: told here, not refused."""
        return self._seen(key, lambda at, _ready, backend: facts.judged(backend.licences(at), self.licence_rules))

    def delete(self, key: EnvKey, actor: Actor, *, wait_s: float = 0) -> None:
        """Remove an env, whole or not. Raises EnvLocked when code runs in it."""
        with self._changing(key, wait_s):
            self._delete("delete", key, actor, wait_s)

    def run(self, key: EnvKey, code: str, actor: Actor, *, timeout_s: float | None = None) -> Outcome:
        """Run Python code in an env, bounded and cut off from everything else. Raises RunTimeout."""
        limit = timeout_s or self.config.execution_timeout
        bounds = Bounds(
            timeout_s=limit,
            memory_bytes=int(self.config.memory_gb * GB),
            output_bytes=int(self.config.output_mb * MB),
            processes=self.config.processes,
            disk_bytes=int(self.config.disk_gb * GB),
        )
        details = {"code_sha256": hashlib.sha256(code.encode()).hexdigest(), "timeout": limit}
        with self.places.running(key):
            generation, ready, backend = self._live(key)
            if backend.stamp(generation) != ready.stamp:
                raise Damaged(f"env {key}: its files changed after the installation; sync it, verify names them")
            if not ready.python:
                raise PythonNotFound(f"env {key} has no Python; add one, such as: python 3.11.*")
            with self._written_down("run", key, actor, details, ready.lock_digest) as step, self.places.scratch() as at:
                step.lock_after = ready.lock_digest
                outcome = run_code(generation / ready.python, code, env_folder=generation, scratch=at, bounds=bounds)
                step.message = f"exit {outcome.exit_code}"
                if outcome.killed_for:
                    step.message += f", ended for its {outcome.killed_for}"
                step.result = step.result if outcome.exit_code == 0 else CODE_FAILED
                if outcome.timed_out:
                    raise RunTimeout(
                        f"the code ran longer than {limit:g} s and was ended with all that it started",
                        stdout=outcome.stdout,
                        stderr=outcome.stderr,
                    )
        return outcome

    def cleanup(self, actor: Actor, *, idle_hours: float | None = None, dry_run: bool = False) -> list[EnvKey]:
        """Remove envs that nothing was done with for that long; those in use stay. Returns the keys."""
        limit = time.time() - 3600 * (self.config.cleanup_idle_hours if idle_hours is None else idle_hours)
        used = self.operations.last_used()
        gone: list[EnvKey] = []
        for env in self.list():
            if max(used.get(env.key.folder, 0.0), env.created_at) > limit:
                continue
            if dry_run or self._clean(env.key, actor):
                gone.append(env.key)
        return gone

    def _clean(self, key: EnvKey, actor: Actor) -> bool:
        try:
            with self._changing(key, 0):
                self._delete("cleanup", key, actor, 0)
        except AuditFailed:
            raise
        except FabricError:
            return False
        return True

    def _delete(self, action: str, key: EnvKey, actor: Actor, wait_s: float) -> None:
        _, ready, _ = self._left(key)
        before = ready.lock_digest if ready else ""
        with self.places.unused(key, wait_s), self._written_down(action, key, actor, {}, before):
            self.places.remove(key)

    def _change(
        self,
        action: str,
        key: EnvKey,
        actor: Actor,
        details: Mapping[str, Any],
        wait_s: float,
        make: Callable[[Backend, Path], None],
        *,
        anew: bool = False,
    ) -> EnvFacts:
        with self._changing(key, wait_s) as held:
            _, ready, backend = self._left(key) if anew else self._live(key)
            if backend is None:
                raise Damaged(f"env {key}: its declaration and lock are gone; delete it and create it again")
            with self._written_down(action, key, actor, details, ready.lock_digest if ready else "") as step:
                return self._replaced(key, backend, held, step, lambda folder: make(backend, folder), anew=anew)

    def _replaced(
        self, key: EnvKey, backend: Backend, held: int, step: _Step, make: Callable[[Path], None], *, anew: bool = False
    ) -> EnvFacts:
        """A new generation whose files ``make`` decides, beside the live one, swapped when it is whole.

        Files that come out as they are change nothing, unless the env is made ``anew``.
        """
        generations = self.places.generations(key)
        live = generations.current()
        with refusing_a_full_disk(self.config.envs_base_path), self.places.scratch() as folder:
            if live:
                for name in backend.files:
                    shutil.copyfile(live / name, folder / name)
            make(folder)
            if live and not anew and all(cmp(live / name, folder / name, shallow=False) for name in backend.files):
                step.lock_after, step.message = backend.digest(folder), "nothing to change"
                return replace(self.get(key), changed=False)
            generation = generations.fresh(backend.digest(folder))
            ready = backend.install(folder, generation, held, trust=True, operation=step.began.id)
            ready.write(generation)
            generations.swap(generation)
        step.lock_after = ready.lock_digest
        self._collect(key)
        return facts.read(key, generation, ready, backend, ready.stamp)

    def _collect(self, key: EnvKey) -> None:
        try:
            with self.places.unused(key):
                self.places.generations(key).collect(GRACE_S)
        except FabricError:
            return  # code runs in it: the next change collects

    @contextmanager
    def _changing(self, key: EnvKey, wait_s: float) -> Generator[int]:
        """Alone with an env whose history agrees with what is on disk."""
        with self.places.changing(key, wait_s) as held:
            reconcile(key, self.places, self.operations)
            yield held

    @contextmanager
    def _written_down(
        self, action: str, key: EnvKey, actor: Actor, details: Mapping[str, Any], before: str = ""
    ) -> Generator[_Step]:
        """A start row before what happens inside, an end row after it, whatever its end is."""
        step = _Step(self.operations.begin(action, key.folder, key.parts, actor, details, before))
        try:
            with words_into(self.places.log(step.began.id)):
                yield step
        except BaseException as error:
            step.result = error.code if isinstance(error, FabricError) else FAULT
            step.message = str(error)[:4000]
            step.lock_after = step.lock_after or before
            raise
        finally:
            self.operations.end(step.began, step.result, message=step.message, lock_after=step.lock_after)

    def _listed(self, key: EnvKey) -> EnvFacts:
        try:
            return self.get(key)
        except EnvNotFound:
            raise
        except FabricError:
            return facts.unreadable(key, self.places.folder(key))

    def _live(self, key: EnvKey) -> tuple[Path, Ready, Backend]:
        """The live generation, which is whole. Raises EnvNotFound, Damaged."""
        while True:
            generation, ready, backend = self._left(key)
            if ready and backend:
                return generation, ready, backend
            if generation == self.places.generations(key).current():  # not replaced or removed under our eyes
                raise Damaged(f"env {key}: {generation.name} lacks {READY} or its declaration; sync it, or delete it")

    def _left(self, key: EnvKey) -> tuple[Path, Ready | None, Backend | None]:
        """What is left of an env, whole or not: the live generation, what it says of itself, whose files it has."""
        generation = self.places.generations(key).current()
        if generation is None:
            raise EnvNotFound(key)
        known = [one for one in self.backends.values() if (generation / one.files[0]).is_file()]
        return generation, Ready.read(generation), known[0] if known else None

    def _seen(self, key: EnvKey, look: Callable[[Path, Ready, Backend], T]) -> T:
        """What ``look`` finds in the live generation; anew when the env was removed under its eyes."""
        while True:
            generation, ready, backend = self._live(key)
            try:
                found = look(generation, ready, backend)
            except (OSError, Damaged):
                if (generation / READY).is_file():
                    raise
            else:
                if (generation / READY).is_file():
                    return found


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadConfiguration(
            f"the folder {folder} cannot be made: {error.strerror}; name another with EGOWORLD_HOME, ENVS_BASE_PATH or "
            "UV_CACHE_DIR"
        ) from error


def project_name(key: EnvKey) -> str:
    """The name in the declaration of an env: its parts joined by "-" (seed 003)."""
    return "-".join(part for part in key.parts if part).rstrip("._-")
