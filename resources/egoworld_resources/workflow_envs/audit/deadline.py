"""A cursor that gives up: libpq waits forever for a server that accepted the connection and then hangs."""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import suppress
from typing import Any

from psycopg2.extensions import cursor

LOOK_S = 0.2


class Watch:
    """Cuts connections whose statement is not answered in time; psycopg2 then raises as for any lost connection.

    One thread for all of them, which sleeps while no statement runs: starting a timer for each statement costs more
    than the statement.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked = threading.Event()
        self._until: dict[int, float] = {}
        self._thread: threading.Thread | None = None

    def begin(self, descriptor: int, seconds: float) -> None:
        """A statement goes out on this descriptor."""
        with self._lock:
            self._until[descriptor] = time.monotonic() + seconds
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, name="audit-deadlines", daemon=True)
                self._thread.start()
            if not self._asked.is_set():
                self._asked.set()

    def over(self, descriptor: int) -> None:
        """It was answered; from now on the descriptor may belong to something else and is left alone."""
        with self._lock:
            self._until.pop(descriptor, None)

    def _look(self) -> None:
        while True:
            self._asked.wait()
            time.sleep(LOOK_S)
            with self._lock:
                if not self._until:
                    self._asked.clear()
                now = time.monotonic()
                for descriptor in [one for one, until in self._until.items() if until < now]:
                    del self._until[descriptor]
                    with suppress(OSError):  # it was lost meanwhile
                        _hang_up(descriptor)


def _hang_up(descriptor: int) -> None:
    with socket.socket(fileno=os.dup(descriptor)) as copy:
        copy.shutdown(socket.SHUT_RDWR)


class PatientCursor(cursor):
    """Waits ``patience_s`` for an answer. The server's own statement_timeout is shorter: it must do nothing at all."""

    patience_s = 8.0
    watch = Watch()

    def execute(self, query: Any, vars: Any = None) -> None:  # noqa: A002  # psycopg2's name
        watch, descriptor = PatientCursor.watch, self.connection.fileno()
        watch.begin(descriptor, self.patience_s)
        try:
            super().execute(query, vars)
        finally:
            watch.over(descriptor)


def patient(seconds: float) -> type[PatientCursor]:
    """The class of cursors that wait so long for an answer."""
    return type("PatientCursor", (PatientCursor,), {"patience_s": seconds})


def _watch_anew() -> None:
    PatientCursor.watch = Watch()  # threads do not follow into a forked process


os.register_at_fork(after_in_child=_watch_anew)
