"""Run another program with a limit in seconds."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from egoworld_resources.programs.environment import environment_of

KILL_PATIENCE_S = 1.0
"""Seconds for a killed program to be gone. One that a driver holds in the kernel is not waited for."""

WORDS = 500


@dataclass(frozen=True)
class Answer:
    """How a program ended and what it said. status: None when it did not end in time."""

    status: int | None
    out: str
    error: str

    @property
    def words(self) -> str:
        """The end of what it said, on one line."""
        said = " ".join((self.error.strip() or self.out.strip()).split())
        return said[-WORDS:] or "it said nothing"

    @property
    def ending(self) -> str:
        """How it ended, in words."""
        if self.status is None:
            return "did not answer in time and was ended"
        return f"ended with status {self.status}: {self.words}"


def ask(command: Sequence[str | Path], seconds: float) -> Answer:
    """Run a program in a session of its own and end it, with all that it started there, after ``seconds``.

    Raises OSError when it cannot be started.
    """
    child = subprocess.Popen(
        [str(part) for part in command],
        env=environment_of("HOME", "CUDA_VISIBLE_DEVICES", "PYTHONPATH"),  # as our own interpreter finds its packages
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        out, error = child.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.communicate(timeout=KILL_PATIENCE_S)
        for pipe in (child.stdout, child.stderr):
            if pipe is not None:
                pipe.close()
        return Answer(None, "", "")
    return Answer(child.returncode, out, error)
