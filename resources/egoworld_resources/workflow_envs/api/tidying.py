"""Envs that nobody uses are removed by the service itself, while it serves."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager

from egoworld_resources.errors import EgoworldError
from egoworld_resources.workflow_envs.fabric import Fabric
from egoworld_resources.workflow_envs.keys import EnvKey

log = logging.getLogger(__name__)

LOOKS = 20
"""Looks within the time that an env may rest, so that it is removed soon after."""
SHORTEST_S, LONGEST_S = 0.5, 300.0
END_S = 60.0


@contextmanager
def tidied(fabric: Fabric, say: Callable[[str], None]) -> Generator[None]:
    """Look again and again while the context lasts; a removal that is on its way is waited for."""
    over = threading.Event()
    looking = threading.Thread(target=_look_on, args=(fabric, say, over), name="tidying", daemon=True)
    looking.start()
    try:
        yield
    finally:
        over.set()
        looking.join(END_S)


def _look_on(fabric: Fabric, say: Callable[[str], None], over: threading.Event) -> None:
    hours, dry = fabric.config.cleanup_idle_hours, fabric.config.cleanup_dry_run
    pause = min(max(SHORTEST_S, hours * 3600 / LOOKS), LONGEST_S)
    known: set[EnvKey] = set()
    while True:
        try:
            found = set(fabric.tidy())
        except (EgoworldError, OSError) as error:  # such as an audit that does not answer: the next look may do
            log.warning("envs that nobody uses could not be looked for: %s", error)
        else:
            for key in sorted(found - known):
                gone = not dry and key not in fabric.places.taken()
                say(f"env {key} rested for {hours:g} h: {'removed' if gone else 'it would be removed'}")
            known = found
        if over.wait(pause):
            return
