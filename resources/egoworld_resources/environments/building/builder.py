"""The env builder: makes model envs from their locks, in generations that are whole or not there."""

from __future__ import annotations

import errno
import os
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from egoworld_resources.environments.building.generations import Generations, Ready, site_packages
from egoworld_resources.environments.building.installed_files import damaged_files, stamp_of
from egoworld_resources.environments.building.uv import Uv
from egoworld_resources.environments.building.venv import Building, Content
from egoworld_resources.environments.catalog import BASE, Catalog, ModelEnv
from egoworld_resources.environments.contract import contract_folder
from egoworld_resources.environments.errors import EnvBuildFailed, EnvDamaged
from egoworld_resources.environments.locking.lockfile import Lock
from egoworld_resources.environments.policy.rules import Policy
from egoworld_resources.leases.locks import locked


@dataclass(frozen=True)
class BuiltEnv:
    """An env that can run: start ``python`` with -I. generation is "base" for our own interpreter.

    Envs that share an interpreter differ in ``name`` alone.
    """

    name: str
    python: Path
    site_packages: Path
    generation: str
    lock_digest: str


class SdistBuilder(Protocol):
    """Wheels of the packages that a lock has as sdists."""

    def of(self, env: str, lock: Lock, python: str) -> Mapping[str, Path]:
        """The wheel of each, by name. python: requires-python of the env."""
        ...


class EnvBuilder:
    """Builds model envs under ``root``; envs share files with uv's ``cache`` by hardlinks.

    ``root`` and ``cache`` should be on one partition. ``grace_s``: how long a superseded generation is kept;
    ``wheels``: folder of wheels to install from before trying the addresses in the lock; ``sdists``: what builds those
    of envs under ``root``, as workflow_envs.sdists does; without it envs that list sdists cannot be built.
    """

    def __init__(
        self,
        root: Path,
        catalog: Catalog,
        uv: Path,
        cache: Path,
        *,
        grace_s: float = 600.0,
        wheels: Path | None = None,
        sdists: Callable[[Building, Policy, Path], SdistBuilder] | None = None,
    ) -> None:
        self.root = root.absolute()
        self._catalog = catalog
        self._building = Building(Uv(uv, cache.absolute()), wheels)
        self._grace_s = grace_s
        self._sdists = sdists

    def ensure(self, env: str, *, fresh: bool = False) -> BuiltEnv:
        """The env as its lock says, built if it is missing or incomplete.

        ``fresh`` builds a new generation in any case and reads every byte of it.
        Raises LockMissing, LockStale, IndexUnreachable, EnvBuildFailed.
        """
        with naming_a_shut_folder(env, self.root):
            return self._ensure(env, fresh=fresh)

    def _ensure(self, env: str, *, fresh: bool) -> BuiltEnv:
        found = self._catalog.host(env)
        lock = self._catalog.lock(env)
        if found.runs_in == BASE:
            purelib = Path(sysconfig.get_path("purelib"))
            return BuiltEnv(env, Path(sys.executable), purelib, BASE, lock.digest)
        built = None if fresh else self.built(env)
        if built is not None:
            return built
        with locked(self.root / f"{found.name}.lock") as held:
            built = None if fresh else self.built(env)
            return built or self._as_built(env, *self._build(found, lock, held, trust=not fresh))

    def built(self, env: str) -> BuiltEnv | None:
        """The env if its live generation is complete, unchanged and made from the current lock; nothing is built."""
        generation = self._generations(env).current()
        ready = Ready.read(generation) if generation else None
        if generation is None or ready is None:
            return None
        digest = self._catalog.lock_digest(env)
        whole = (
            ready.lock_digest == digest
            and ready.contract == str(contract_folder().parent)
            and (generation / ready.python).exists()
            and ready.stamp == stamp_of(generation)
        )
        return self._as_built(env, generation, ready) if whole else None

    def verify(self, env: str) -> int:
        """Compare every file of the live generation with its RECORD; returns their number, raises EnvDamaged.

        Nothing is repaired here; an env that was never built is built first.
        """
        generation = None if self._catalog.env(env).runs_in == BASE else self._generations(env).current()
        whole = generation is not None and Ready.read(generation) is not None
        folder = site_packages(generation) if generation and whole else self.ensure(env).site_packages
        damaged = [file for files in damaged_files(folder).values() for file in files]
        if damaged:
            raise EnvDamaged(env, folder, damaged)
        return sum(1 for file in folder.rglob("*") if file.is_file())

    def collect(self, env: str) -> list[str]:
        """Remove generations that nothing uses; returns their names."""
        host = self._catalog.env(env).runs_in
        with naming_a_shut_folder(env, self.root), locked(self.root / f"{host}.lock"):
            return self._generations(env).collect(self._grace_s)

    def _build(self, env: ModelEnv, lock: Lock, held: int, *, trust: bool) -> tuple[Path, Ready]:
        generations = self._generations(env.name)
        generation = generations.fresh(lock.digest)
        generations.collect(self._grace_s)
        built = self._built_here(env, lock) if env.sdists else {}
        content = Content(env.name, lock, env.python, built=built, path=contract_folder().parent)
        ready = self._building.make(content, generation, held, trust=trust)
        ready.write(generation)
        generations.swap(generation)
        return generation, ready

    def _built_here(self, env: ModelEnv, lock: Lock) -> Mapping[str, Path]:
        if self._sdists is None:
            raise EnvBuildFailed(f"env '{env.name}' lists sdists, and what builds it here builds none")
        policy = Policy.read(self._catalog.envs_folders[0] / "policy.toml")
        return self._sdists(self._building, policy, self.root).of(env.name, lock, env.python)

    def _generations(self, env: str) -> Generations:
        return Generations(self.root / self._catalog.env(env).runs_in)

    def _as_built(self, env: str, generation: Path, ready: Ready) -> BuiltEnv:
        return BuiltEnv(env, generation / ready.python, site_packages(generation), generation.name, ready.lock_digest)


@contextmanager
def naming_a_shut_folder(env: str, root: Path) -> Iterator[None]:
    """Turn the kernel's refusal to write where model envs are built into EnvBuildFailed, which names the folder."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        raise EnvBuildFailed(
            f"env '{env}' cannot be built in {root}: {error.strerror}: {error.filename or root}. Make that folder "
            f"writable for user {os.geteuid()}: chown or chmod it, or mount its disk read-write"
        ) from error
