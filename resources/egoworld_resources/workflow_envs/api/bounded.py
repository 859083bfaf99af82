"""How many calls are served at once: changes and runs have a bound each, so that reads always get through."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from anyio import CapacityLimiter

from egoworld_resources.workflow_envs.errors import Busy

CHANGES = 64
"""Calls at once that change envs: each waits in a thread for uv or a lock."""
READS = 40
"""Further threads, for calls that only look."""
WAITING_RUNS = 64
"""Calls at once that wait for room to run code, beside those whose code runs."""
HEALTH = 4
SOON_S = 5


class Bounded:
    """At most this many calls of a kind run together; one more is refused at once. Used in the event loop alone."""

    def __init__(self, most: int, what: str) -> None:
        self.threads = CapacityLimiter(most)
        self._most = most
        self._what = what
        self._now = 0

    @contextmanager
    def one(self) -> Generator[None]:
        """A call counts while the context lasts. Raises Busy."""
        if self._now >= self._most:
            raise Busy(
                f"{self._now} {self._what} are on their way, more are not taken at once", SOON_S, most=self._most
            )
        self._now += 1
        try:
            yield
        finally:
            self._now -= 1
