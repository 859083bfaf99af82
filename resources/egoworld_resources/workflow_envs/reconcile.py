"""Start rows without an end, after a crash: ended by what is on disk."""

from __future__ import annotations

from contextlib import suppress

from egoworld_resources.environments.building.generations import Ready
from egoworld_resources.workflow_envs.audit import Began, Operations
from egoworld_resources.workflow_envs.errors import EnvLocked
from egoworld_resources.workflow_envs.folders import Places
from egoworld_resources.workflow_envs.keys import EnvKey

INTERRUPTED = "INTERRUPTED"
GONE = ("delete", "cleanup")
RUN, CANCEL = "run", "cancel"
"""What happens while code runs, beside changes of the env."""


def reconcile_all(places: Places, operations: Operations) -> None:
    """Settle every env that nobody holds; one that is held has a living operation, which ends itself."""
    for began in operations.unfinished():
        key = EnvKey(*began.parts)
        with suppress(EnvLocked), places.changing(key, 0):
            reconcile(key, places, operations)


def reconcile(key: EnvKey, places: Places, operations: Operations) -> None:
    """Write the end of what died in ``key``; the caller holds the env alone, so no other change of it lives."""
    for began in operations.unfinished(key.folder):
        if began.action in (RUN, CANCEL):
            with suppress(EnvLocked), places.unused(key):
                words = f"the service ended before the {'code' if began.action == RUN else 'run'} did"
                operations.end(began, INTERRUPTED, message=words, lock_after=began.lock_before)
        else:
            _settle(began, key, places, operations)


def _settle(began: Began, key: EnvKey, places: Places, operations: Operations) -> None:
    generation = places.generations(key).current()
    ready = Ready.read(generation) if generation else None
    lock = ready.lock_digest if ready else ""
    done = generation is None if began.action in GONE else ready is not None and ready.operation == began.id
    words = "found done on disk after a crash" if done else "a crash came before it took effect; nothing was changed"
    operations.end(began, "ok" if done else INTERRUPTED, message=words, lock_after=lock)
