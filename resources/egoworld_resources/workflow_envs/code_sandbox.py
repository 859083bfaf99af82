"""Code of a workflow, run in its env and apart from everything else, by the sandbox that all programs are run in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from egoworld_resources import sandbox
from egoworld_resources.sandbox import Bounds, Cancel, Capabilities, Outcome, capabilities
from egoworld_resources.workflow_envs.errors import FabricError

__all__ = ["Bounds", "Cancel", "Capabilities", "Outcome", "SandboxFailed", "capabilities", "run_code"]


class SandboxFailed(FabricError):
    """Code could not be run: what keeps it apart cannot be made or was killed, or its interpreter does not start."""

    code: ClassVar[str] = "SANDBOX_FAILED"
    status: ClassVar[int] = 500


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
    """As ``egoworld_resources.sandbox.run_code``; raises SandboxFailed of this package."""
    means = means or capabilities()
    try:
        return sandbox.run_code(
            python,
            code,
            env_folder=env_folder,
            scratch=scratch,
            bounds=bounds,
            pass_fds=pass_fds,
            means=means,
            cancel=cancel,
        )
    except sandbox.SandboxFailed as error:
        raise SandboxFailed(str(error), isolation=list(means.allowed)) from error
