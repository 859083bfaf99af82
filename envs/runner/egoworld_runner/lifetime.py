"""How a runner process ends: with its parent, and within seconds of SIGTERM."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from types import FrameType

GRACE_S = 4.0
"""Seconds that a model's native code gets to return after SIGTERM before the process is ended under it."""

PR_SET_PDEATHSIG = 1


def end_with_parent(parent: int) -> None:
    """Ask the kernel for SIGTERM when the parent dies (prctl(2)); exit at once if it already has."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit(128 + signal.SIGTERM)


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
        os._exit(128 + signal.SIGTERM)

    def leave(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, leave)
    threading.Thread(target=watch, name="sigterm", daemon=True).start()
