"""The env builder: makes model envs from their locks, in generations that are whole or not there."""

from __future__ import annotations

import logging
import sys
import sysconfig
import time
from dataclasses import dataclass
from pathlib import Path

from packaging.specifiers import SpecifierSet

from egoworld_resources.catalog import BASE, Catalog, ModelEnv
from egoworld_resources.environments.contract import contract_folder
from egoworld_resources.environments.errors import EnvBuildFailed, EnvDamaged
from egoworld_resources.environments.generations import Generations, Ready, exclusive, site_packages
from egoworld_resources.environments.ledger import Ledger
from egoworld_resources.environments.lockfile import Lock
from egoworld_resources.environments.records import Files, damaged_files
from egoworld_resources.environments.uv import Uv

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BuiltEnv:
    """An env that can run: start ``python`` with -I. generation is "base" for our own interpreter."""

    name: str
    python: Path
    site_packages: Path
    generation: str
    lock_digest: str


class EnvBuilder:
    """Builds model envs under ``root``; envs share files with uv's ``cache`` by hardlinks.

    ``root`` and ``cache`` should lie on one partition. ``grace_s``: how long a superseded generation is kept.
    """

    def __init__(self, root: Path, catalog: Catalog, uv: Path, cache: Path, *, grace_s: float = 600.0) -> None:
        self.root = root.absolute()
        self._catalog = catalog
        self._uv = Uv(uv, cache.absolute())
        self._grace_s = grace_s

    def ensure(self, env: str, *, fresh: bool = False) -> BuiltEnv:
        """The env as its lock says, built when there is none or the one there is not whole.

        ``fresh`` builds a new generation in any case and reads every byte of it.
        Raises LockMissing, LockStale, IndexUnreachable, EnvBuildFailed.
        """
        found = self._catalog.env(env)
        lock = self._catalog.lock(env)
        if found.interpreter == BASE:
            purelib = Path(sysconfig.get_path("purelib"))
            return BuiltEnv(env, Path(sys.executable), purelib, BASE, lock.digest)
        built = None if fresh else self.built(env)
        if built is not None:
            return built
        with exclusive(self.root / f"{env}.lock") as held:
            built = None if fresh else self.built(env)
            return built or self._build(found, lock, held, trust=not fresh)

    def built(self, env: str) -> BuiltEnv | None:
        """The env if its live generation is whole, unchanged and from the lock of today; nothing is built."""
        generation = self._generations(env).current()
        ready = Ready.read(generation) if generation else None
        if generation is None or ready is None:
            return None
        digest = self._catalog.lock_digest(env)
        whole = (
            ready.lock_digest == digest
            and ready.contract == str(contract_folder().parent)
            and (generation / ready.python).exists()
            and ready.stamp == Files(site_packages(generation)).stamp()
        )
        return self._as_built(env, generation, ready) if whole else None

    def verify(self, env: str) -> int:
        """Compare every file of the live generation with its RECORD; returns their number, raises EnvDamaged.

        Nothing is mended here; an env that was never built is built first.
        """
        generation = None if self._catalog.env(env).interpreter == BASE else self._generations(env).current()
        whole = generation is not None and Ready.read(generation) is not None
        folder = site_packages(generation) if generation and whole else self.ensure(env).site_packages
        damaged = [file for files in damaged_files(folder).values() for file in files]
        if damaged:
            raise EnvDamaged(env, folder, damaged)
        return sum(1 for file in folder.rglob("*") if file.is_file())

    def collect(self, env: str) -> list[str]:
        """Remove generations that nothing uses; returns their names."""
        with exclusive(self.root / f"{env}.lock"):
            return self._generations(env).collect(self._grace_s)

    def _build(self, env: ModelEnv, lock: Lock, held: int, *, trust: bool) -> BuiltEnv:
        generations = self._generations(env.name)
        generation = generations.fresh(lock.digest)
        generations.collect(self._grace_s)
        began = time.monotonic()
        cache = self._uv.cache
        with exclusive(cache / "egoworld-build.lock") as cache_held:
            self._warn_about_partitions()
            log.info("building env %s (%d packages) ...", env.name, len(lock.entries))
            files = self._install(env, lock, generation, (held, cache_held), trust=trust)
        files.make_read_only()
        ready = Ready(
            env=env.name,
            lock_digest=lock.digest,
            contract=str(contract_folder().parent),
            python="bin/python",
            stamp=files.stamp(),
            files=len(files),
            seconds=round(time.monotonic() - began, 3),
        )
        ready.write(generation)
        generations.swap(generation)
        log.info("built env %s in %.1f s", env.name, ready.seconds)
        return self._as_built(env.name, generation, ready)

    def _install(self, env: ModelEnv, lock: Lock, generation: Path, held: tuple[int, ...], *, trust: bool) -> Files:
        """Make the venv with the contract on its path, install the lock and check every file; returns the files."""
        what = f"building env '{env.name}' from {lock.path}"
        generation.mkdir()
        ledger = Ledger(self._uv.cache / "egoworld-ledger.sqlite") if trust else None
        venv = ["venv", "--relocatable", "--allow-existing", "--python", self._interpreter(env, generation)]
        self._uv.run([*venv, generation], cwd=generation, held=held, what=what)
        path_file = site_packages(generation) / "egoworld_runner.pth"
        path_file.write_text(f"{contract_folder().parent}\n", encoding="utf-8")
        builds = [part for name in env.sdists for part in ("--no-binary", name)]
        sync = ["pip", "sync", "--python", generation / "bin" / "python", "--link-mode", "hardlink"]
        sync += ["--only-binary", ":all:", *builds, lock.path]
        self._uv.run(sync, cwd=generation, held=held, what=what)
        files, damaged = _checked(generation, ledger)
        if damaged:
            log.warning("the cache held altered files of %s; fetching them anew", ", ".join(sorted(damaged)))
            self._uv.run(["cache", "clean", *sorted(damaged)], cwd=generation, held=held, what=what)
            self._uv.run([*sync, "--reinstall"], cwd=generation, held=held, what=what)
            files, damaged = _checked(generation, ledger)
        if damaged:
            raise EnvDamaged(env.name, generation, [file for files in damaged.values() for file in files])
        return files

    def _interpreter(self, env: ModelEnv, cwd: Path) -> Path:
        """Our own Python where it fits, else one from PATH; Python itself is never downloaded."""
        version = ".".join(str(part) for part in sys.version_info[:3])
        if SpecifierSet(env.python).contains(version):
            return Path(sys.executable)
        try:
            found = self._uv.run(["python", "find", "--system", "--no-project", env.python], cwd, what="finding Python")
        except EnvBuildFailed as error:
            raise EnvBuildFailed(
                f"env '{env.name}' needs Python {env.python}; this is {version} and no other on PATH fits. Install one"
            ) from error
        return Path(found.strip())

    def _warn_about_partitions(self) -> None:
        if self.root.stat().st_dev != self._uv.cache.stat().st_dev:
            log.warning(
                "%s and uv's cache %s lie on different partitions: every env is copied in full instead of hardlinked; "
                "set UV_CACHE_DIR to a folder on the partition of the envs",
                self.root,
                self._uv.cache,
            )

    def _generations(self, env: str) -> Generations:
        return Generations(self.root / env)

    def _as_built(self, env: str, generation: Path, ready: Ready) -> BuiltEnv:
        return BuiltEnv(env, generation / ready.python, site_packages(generation), generation.name, ready.lock_digest)


def _checked(generation: Path, ledger: Ledger | None) -> tuple[Files, dict[str, list[str]]]:
    """The files of a venv, and the damaged ones by distribution; files that the ledger knows are not read again."""
    files = Files(site_packages(generation))
    damaged = damaged_files(files.folder, ledger, files)
    if ledger:
        ledger.save()
    return files, damaged
