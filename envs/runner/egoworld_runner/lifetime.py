"""How a runner process ends: within seconds of SIGTERM, and with all that it started."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType

from egoworld_runner.keeper import kill_all_below

GRACE_S = 4.0
"""Seconds that a model's native code gets to return after SIGTERM before the process is ended under it."""


def end_on_sigterm() -> None:
    """On SIGTERM leave through SystemExit, or after GRACE_S without any clean-up; partial folders stay partial.

    The wake-up pipe is read by a thread, so this holds while the main thread is inside native code that never
    comes back to Python.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def watch() -> None:
        while signal.SIGTERM not in os.read(reader, 64):
            pass
        threading.Event().wait(GRACE_S)
        kill_all_below(os.getpid())
        os._exit(128 + signal.SIGTERM)

    def leave(number: int, _frame: FrameType | None) -> None:
        kill_all_below(os.getpid())
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, leave)
    threading.Thread(target=watch, name="sigterm", daemon=True).start()
