"""What code may take, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from egoworld_resources.environments.fabric.errors import FabricError


class SandboxFailed(FabricError):
    """Code could not be run: what keeps it apart cannot be made or was killed, or its interpreter does not start."""

    code: ClassVar[str] = "SANDBOX_FAILED"
    status: ClassVar[int] = 500


@dataclass(frozen=True)
class Bounds:
    """What one run may take.

    timeout_s: seconds of wall time; memory_bytes: of all its processes together, files in /tmp and /scratch included,
    where a control group counts it, else see Capabilities; output_bytes: kept of stdout and of stderr, each;
    processes: processes and threads; disk_bytes: of all files that it writes, or of each where mounting is not allowed.
    """

    timeout_s: float
    memory_bytes: int
    output_bytes: int
    processes: int
    disk_bytes: int


@dataclass(frozen=True)
class Outcome:
    """What came of one run.

    exit_code: of the interpreter; 128 + N when signal N ended it. truncated: output was longer than output_bytes.
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
