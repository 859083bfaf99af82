"""What a checkout has besides packages, put into a wheel too: hatchling calls this when it builds one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PROJECT = "egoworld_resources/project"
"""Where settings.PROJECT finds it: one folder of the same shape as a checkout."""
CARRIED = ("envs", "locks", "infra", "tests/envs", "tests/locks", "pyproject.toml", "workspace.yaml")
"""The env of the tests too: the rules for envs and the matrix speak of all of them."""
CONTRACT = "egoworld_runner.pth"
"""Puts the contract, which lies in ``envs``, on the path."""


class ProjectInWheel(BuildHookInterface[Any]):
    """An editable install works in the checkout itself and carries nothing."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        for name in CARRIED:
            build_data["force_include"][str(Path(self.root, name))] = f"{PROJECT}/{name}"
        build_data["force_include"][str(Path(self.root, "infra", CONTRACT))] = CONTRACT
