"""Where the envs of workflows are stored, and who may touch them.

<base>/<folder of the key>/<generation>/   a whole env with its declaration and locks, ready.json written last
<base>/<folder of the key>/current         symlink to the live generation
<base>/.locks/change/<folder>              lock: one operation at a time
<base>/.locks/run/<folder>                 lock, shared: code runs in the env
<base>/.making/                            venvs that are being installed (slots.py)
<base>/.logs/<operation>                   the output of uv, kept for a week
<base>/.scratch/                           declarations that are being resolved; <base>/.removed/  envs on their way out
"""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

from egoworld_resources.environments.building.generations import Generations
from egoworld_resources.errors import LockBusy
from egoworld_resources.leases.locks import locked
from egoworld_resources.leases.scratch import scratch_folder, sweep
from egoworld_resources.workflow_envs.errors import EnvLocked, InvalidKey
from egoworld_resources.workflow_envs.keys import EnvKey

KEPT_S = 7 * 24 * 3600


class Places:
    """The folders below ``base``."""

    def __init__(self, base: Path) -> None:
        self.base = base

    def folder(self, key: EnvKey) -> Path:
        """The folder of an env, there or not."""
        return self.base / key.folder

    def generations(self, key: EnvKey) -> Generations:
        return Generations(self.folder(key))

    def taken(self) -> list[EnvKey]:
        """The envs that have a live generation, in order."""
        found: list[EnvKey] = []
        for entry in self.base.iterdir() if self.base.is_dir() else ():
            try:
                key = EnvKey.of_folder(entry.name)
            except InvalidKey:
                continue
            try:
                taken = self.generations(key).current() is not None
            except PermissionError:  # a folder that is shut to us is an env all the same
                taken = True
            if taken:
                found.append(key)
        return sorted(found)

    @contextmanager
    def changing(self, key: EnvKey, wait_s: float) -> Generator[int]:
        """Alone with an env; yields the descriptor of the lock. Raises EnvLocked when it is not free in time."""
        with _held(key, "another operation changes it"), locked(self._lock("change", key), wait_s) as held:
            yield held

    @contextmanager
    def running(self, key: EnvKey) -> Generator[None]:
        """Code runs in the env: it may be changed, in another generation, and not removed."""
        with _held(key, "it is being removed"), locked(self._lock("run", key), 0, shared=True):
            yield

    @contextmanager
    def unused(self, key: EnvKey, wait_s: float = 0) -> Generator[None]:
        """No code runs in the env. Raises EnvLocked when it does."""
        with _held(key, "code runs in it"), locked(self._lock("run", key), wait_s):
            yield

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """An empty folder on the partition of the envs, gone afterwards."""
        with scratch_folder(self.base / ".scratch", "env") as owned:
            owned.chmod(0o711)  # code that runs as another user passes through
            folder = owned / "files"
            folder.mkdir(mode=0o700)
            yield folder

    def remove(self, key: EnvKey) -> None:
        """Take an env away at once, then its files."""
        parent = self.base / ".removed"
        parent.mkdir(parents=True, exist_ok=True)
        away = parent / f"{secrets.token_hex(8)}"
        self.folder(key).rename(away)
        shutil.rmtree(away, ignore_errors=True)

    def sweep(self) -> None:
        """Collect what a crash left behind: removed envs, and scratch folders whose owner has died."""
        for left in (self.base / ".removed").glob("*"):
            shutil.rmtree(left, ignore_errors=True)
        if (self.base / ".scratch").is_dir():
            sweep(self.base / ".scratch")
        for log in (self.base / ".logs").glob("*"):
            if time.time() - log.stat().st_mtime > KEPT_S:
                log.unlink(missing_ok=True)

    def log(self, operation: str) -> Path:
        """The log of programs in an operation; it exists if they wrote something."""
        return self.base / ".logs" / operation

    def _lock(self, kind: str, key: EnvKey) -> Path:
        return self.base / ".locks" / kind / key.folder


@contextmanager
def _held(key: EnvKey, what: str) -> Iterator[None]:
    """LockBusy of the lock itself as EnvLocked; what happens inside is not about the lock."""
    try:
        yield
    except LockBusy as error:
        raise EnvLocked(key, what) from error
