"""Removing envs: one by its key, or those that nothing was done with for a while."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from egoworld_resources.environments.building.generations import READY, process_inside
from egoworld_resources.errors import LockBusy
from egoworld_resources.leases.locks import locked
from egoworld_resources.workflow_envs.actors import Actor
from egoworld_resources.workflow_envs.base import FabricBase
from egoworld_resources.workflow_envs.errors import AuditFailed, FabricError
from egoworld_resources.workflow_envs.idle_time import Look
from egoworld_resources.workflow_envs.keys import EnvKey

BY_ITSELF = Actor("cleanup", "by itself")


class Removals(FabricBase):
    """Removing envs."""

    def delete(self, key: EnvKey, actor: Actor, *, wait_s: float = 0) -> None:
        """Remove an env, whole or not. Raises EnvLocked when code runs in it."""
        with self._changing(key, wait_s):
            self._delete("delete", key, actor, wait_s)

    def cleanup(self, actor: Actor, *, idle_hours: float | None = None, dry_run: bool = False) -> list[EnvKey]:
        """Remove envs that nothing was done with for that long; those in use stay. Returns the keys."""
        seconds = 3600 * (self.config.cleanup_idle_hours if idle_hours is None else idle_hours)
        now, gone = time.time(), list[EnvKey]()
        for key, used in self._used().items():
            rested = now - used
            if rested >= seconds and (dry_run or self._clean(key, actor, used, rested)):
                gone.append(key)
        return gone

    def tidy(self) -> list[EnvKey]:
        """Remove envs that have rested for CLEANUP_IDLE_HOURS by the machine's own clock; those in use stay.

        The first look of all, and each with CLEANUP_DRY_RUN, only reports which they are. While another process is
        looking, nothing is done. Raises AuditFailed.
        """
        file = self.config.envs_base_path / ".rests.json"
        try:
            with locked(self.config.envs_base_path / ".locks" / "tidy", 0):
                before, used = Look.read(file), self._used()
                look = Look.now({key.folder: at for key, at in used.items()}, before)
                look.write(file)
                limit = 3600 * self.config.cleanup_idle_hours
                idle = [key for key in used if look.rested(key.folder) >= limit]
                if before is None or self.config.cleanup_dry_run:
                    return idle
                return [key for key in idle if self._clean(key, BY_ITSELF, used[key], look.rested(key.folder))]
        except LockBusy:
            return []

    def _used(self) -> dict[EnvKey, float]:
        """When the last operation on each env ended, or when it was made."""
        ended, found = self.operations.last_used(), dict[EnvKey, float]()
        for key in self.places.taken():
            folder = self.places.folder(key)
            with suppress(OSError):  # it is on its way out, or shut to us
                generation = self.places.generations(key).current() or folder
                made = generation / READY if (generation / READY).exists() else folder
                found[key] = max(ended.get(key.folder, 0.0), made.stat().st_mtime)
        return found

    def _clean(self, key: EnvKey, actor: Actor, used: float, rested: float) -> bool:
        """Remove an env unless it is in use, or was used since that was looked up."""
        try:
            with self._changing(key, 0):
                if self._used().get(key) != used or process_inside(self.places.folder(key)):
                    return False
                self._delete("cleanup", key, actor, 0, {"idle_hours": round(rested / 3600, 4)})
        except AuditFailed:
            raise
        except FabricError:
            return False
        return True

    def _delete(
        self, action: str, key: EnvKey, actor: Actor, wait_s: float, details: Mapping[str, Any] | None = None
    ) -> None:
        _, ready, _ = self._left(key)
        before = ready.lock_digest if ready else ""
        with self.places.unused(key, wait_s), self._written_down(action, key, actor, details or {}, before):
            self.places.remove(key)
