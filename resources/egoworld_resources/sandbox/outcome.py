"""What a program may take, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass

from egoworld_resources.errors import Transient


class SandboxFailed(Transient):
    """A program could not be run: what keeps it apart cannot be made or was killed, or it does not start."""


@dataclass(frozen=True)
class Bounds:
    """What one run may take.

    timeout_s: seconds of wall time; memory_bytes: of all its processes together, files in /tmp and /scratch included,
    where a control group counts it, else see Capabilities; output_bytes: kept of stdout and of stderr, each;
    processes: processes and threads; disk_bytes: of all files that it writes to its own disk, or of each where it has
    none of its own.
    """

    timeout_s: float
    memory_bytes: int
    output_bytes: int
    processes: int
    disk_bytes: int


@dataclass(frozen=True)
class Outcome:
    """What came of one run.

    exit_code: of the program; 128 + N when signal N ended it. truncated: output was longer than output_bytes.
    killed_for: "" when it ended by itself, else "timeout", "memory" or "cancelled". isolation: what kept it apart.
    """

    exit_code: int
    stdout: str
    stderr: str
    truncated: bool
    timed_out: bool
    killed_for: str
    seconds: float
    isolation: tuple[str, ...]
