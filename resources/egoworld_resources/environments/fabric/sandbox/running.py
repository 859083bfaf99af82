"""Running code in an env."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from egoworld_resources.environments.fabric.sandbox.capability import Capabilities, capabilities
from egoworld_resources.environments.fabric.sandbox.draining import Cancel
from egoworld_resources.environments.fabric.sandbox.launching import Job, launched
from egoworld_resources.environments.fabric.sandbox.outcome import Bounds, Outcome, SandboxFailed


def run_code(
    python: Path,
    code: str,
    *,
    env_folder: Path,
    scratch: Path,
    bounds: Bounds,
    pass_fds: Sequence[int] = (),
    means: Capabilities | None = None,
    cancel: Cancel | None = None,
) -> Outcome:
    """Run ``code`` by the interpreter of an env, apart from the service by all means that are allowed here.

    scratch: an existing empty folder. Where mounting is allowed it is only mounted over, else it is the working
    directory and keeps what the code leaves. pass_fds: descriptors that the code inherits: none of a folder, it would
    lead out. means: those to use instead of ``capabilities()``. cancel: when it is set, the run ends at once, nothing
    of it is left, and killed_for is "cancelled". The code's standard input is empty.

    Raises SandboxFailed when the code could not be run to its end; it is never run by fewer means than ``means`` says.
    """
    allowed = (means or capabilities()).allowed
    job = Job(python, code.encode("utf-8", "surrogatepass"), env_folder, scratch, bounds, allowed, pass_fds)
    told = launched(replace(job, cancel=cancel))
    if told.failed:
        raise SandboxFailed(f"code could not be run in {env_folder}: {told.failed}", isolation=list(allowed))
    return Outcome(
        exit_code=told.status,
        stdout=told.stdout.text,
        stderr=told.stderr.text,
        truncated=told.stdout.truncated or told.stderr.truncated,
        timed_out=told.killed_for == "timeout",
        killed_for=told.killed_for,
        seconds=told.seconds,
        isolation=allowed,
    )
