"""Removing envs: one by its key, or those that nothing was done with for a while."""

from __future__ import annotations

import time

from egoworld_resources.environments.fabric.actors import Actor
from egoworld_resources.environments.fabric.errors import AuditFailed, FabricError
from egoworld_resources.environments.fabric.keys import EnvKey
from egoworld_resources.environments.fabric.looks import Looks


class Removals(Looks):
    """Removing envs."""

    def delete(self, key: EnvKey, actor: Actor, *, wait_s: float = 0) -> None:
        """Remove an env, whole or not. Raises EnvLocked when code runs in it."""
        with self._changing(key, wait_s):
            self._delete("delete", key, actor, wait_s)

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
