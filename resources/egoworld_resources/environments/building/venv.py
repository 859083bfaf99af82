"""The one way a venv is made: from a pylock file, in a generation of its own, every file checked against its RECORD."""

from __future__ import annotations

import hashlib
import logging
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from packaging.specifiers import SpecifierSet

from egoworld_resources.environments.building.generations import BUILD_LOCK, Ready, site_packages
from egoworld_resources.environments.building.installed_files import Files, damaged_files, stamp_of
from egoworld_resources.environments.building.slots import Slot, free_slot
from egoworld_resources.environments.building.uv import Uv
from egoworld_resources.environments.building.verified_files import Ledger
from egoworld_resources.environments.building.wheelhouse import lock_here
from egoworld_resources.environments.contract import path_line
from egoworld_resources.environments.errors import EnvBuildFailed, EnvDamaged, IndexUnreachable, PythonMissing
from egoworld_resources.environments.locking.lockfile import Lock
from egoworld_resources.leases.locks import locked

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Content:
    """What a venv is to hold.

    python: requires-python; built: wheels of what the lock has as sdists, by package; path: a folder that its
    interpreter imports from; keep: files to put into it afterwards.
    """

    env: str
    lock: Lock
    python: str
    built: Mapping[str, Path] = field(default_factory=dict[str, Path])
    path: Path | None = None
    keep: Sequence[Path] = ()


class Building:
    """Makes venvs with uv. Those whose packages the cache holds are made side by side; what it lacks is fetched by
    one at a time, so that nothing is fetched or unpacked twice.
    """

    def __init__(self, uv: Uv, wheels: Path | None = None) -> None:
        """wheels: folder that is looked into before an address of a lock; None without one."""
        self.uv = uv
        self.wheels = wheels

    def make(
        self,
        content: Content,
        generation: Path,
        held: int,
        *,
        trust: bool = True,
        operation: str = "",
        slots: Path | None = None,
    ) -> Ready:
        """Fill the new folder ``generation`` and return what to write into it as its last file.

        ``held``: descriptor of the env's lock; ``trust`` reads only files that the ledger of the cache does not know.
        ``slots``: the root that it is made in before it is renamed, when that is not two folders above.
        Raises IndexUnreachable, PythonMissing, EnvBuildFailed, EnvDamaged; an unfinished folder is left to the
        collector.
        """
        began = time.monotonic()
        self.uv.cache.mkdir(parents=True, exist_ok=True)
        self._warn_about_partitions(generation.parent)
        log.info("building env %s (%d packages) ...", content.env, len(content.lock.entries))
        here = lock_here(content.lock, self.wheels, content.built)
        with free_slot(slots or generation.parent.parent) as slot, here as lock:
            self._make_venv(content, slot, held)
            files = self._install(content, lock, slot, held, trust=trust)
            files.make_read_only()
            for file in content.keep:
                shutil.copyfile(file, slot.path / file.name)
                (slot.path / file.name).chmod(0o600)
            stamp = stamp_of(slot.path, files)
            slot.path.rename(generation)
        ready = Ready(
            env=content.env,
            lock_digest=content.lock.digest,
            contract=str(content.path or ""),
            python="bin/python",
            stamp=stamp,
            files=len(files),
            seconds=round(time.monotonic() - began, 3),
            bytes=files.size,
            operation=operation,
        )
        log.info("built env %s in %.1f s", content.env, ready.seconds)
        return ready

    def interpreter(self, env: str, python: str, cwd: Path) -> Path:
        """Our own Python where ``python`` allows it, else one from PATH; Python itself is never downloaded."""
        version = ".".join(str(part) for part in sys.version_info[:3])
        if SpecifierSet(python).contains(version):
            return Path(sys.executable)
        try:
            found = self.uv.run(["python", "find", "--system", "--no-project", python], cwd, what="finding Python")
        except EnvBuildFailed as error:
            raise PythonMissing(
                f"env '{env}' needs Python {python}; this is {version} and no other on PATH fits. Install one"
            ) from error
        return Path(found.strip())

    def _make_venv(self, content: Content, slot: Slot, held: int) -> None:
        python = self.interpreter(content.env, content.python, slot.path.parent)

        def make(folder: Path) -> None:
            venv = ["venv", "--relocatable", "--python", python, folder]
            what = f"making a venv for env '{content.env}'"
            self.uv.run(venv, cwd=folder.parent, held=(held, slot.held), what=what)

        slot.fill(_identity(python.resolve()), make)
        if content.path:
            file = site_packages(slot.path) / "egoworld.pth"
            file.write_text(f"{path_line(content.path)}\n", encoding="ascii")

    def _install(self, content: Content, lock: Path, slot: Slot, held: int, *, trust: bool) -> Files:
        """Install the lock and check every file; returns the files.

        Side by side with others as long as the cache holds all of it, unharmed; else again, alone with the cache.
        """
        ledger = Ledger.of(self.uv.cache) if trust else None
        what = f"building env '{content.env}' from {content.lock.path.name}"
        sync = ["pip", "sync", "--python", slot.path / "bin" / "python", "--link-mode", "hardlink"]
        sync += ["--only-binary", ":all:", lock]
        mutex = self.uv.cache / BUILD_LOCK
        with locked(mutex, shared=True) as shared, suppress(IndexUnreachable):
            self.uv.run([*sync, "--offline"], cwd=slot.path, held=(held, slot.held, shared), what=what)
            files, damaged = _checked(slot.path, ledger)
            if not damaged:
                return files
        # uv may ask an interpreter about itself, which then imports what packages brought: it never finds any there.
        with locked(mutex) as alone:
            self._make_venv(content, slot, held)
            self.uv.run(sync, cwd=slot.path, held=(held, slot.held, alone), what=what)
            files, damaged = _checked(slot.path, ledger)
            if damaged:
                log.warning("the cache held altered files of %s; fetching them again", ", ".join(sorted(damaged)))
                locks = (held, slot.held, alone)
                self.uv.run(["cache", "clean", *sorted(damaged)], cwd=slot.path, held=locks, what=what)
                self._make_venv(content, slot, held)
                self.uv.run(sync, cwd=slot.path, held=locks, what=what)
                files, damaged = _checked(slot.path, ledger)
        if damaged:
            raise EnvDamaged(content.env, slot.path, [file for files in damaged.values() for file in files])
        return files

    def _warn_about_partitions(self, root: Path) -> None:
        if root.stat().st_dev != self.uv.cache.stat().st_dev:
            log.warning(
                "%s and uv's cache %s are on different partitions: every env is copied in full instead of hardlinked; "
                "set UV_CACHE_DIR to a folder on the partition of the envs",
                root,
                self.uv.cache,
            )


def _checked(generation: Path, ledger: Ledger | None) -> tuple[Files, dict[str, list[str]]]:
    """The files of a venv, and the damaged ones by distribution; files that the ledger knows are not read again."""
    files = Files(site_packages(generation))
    damaged = damaged_files(files.folder, ledger, files)
    if ledger:
        ledger.save()
    return files, damaged


def _identity(program: Path) -> str:
    """Digest over path, size and time: another interpreter at the same path is another one."""
    found = program.stat()
    return hashlib.sha256(f"{program}\0{found.st_size}\0{found.st_mtime_ns}".encode()).hexdigest()[:16]
