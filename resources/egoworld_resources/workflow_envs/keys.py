"""The name of an env: a workflow, a node of it and optionally a version."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from egoworld_resources.workflow_envs.errors import InvalidKey

PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What each part looks like: safe as a folder name and as a part of a URL."""

LONGEST = 240
"""Characters of a folder's name; file systems allow 255."""


@dataclass(frozen=True, order=True)
class EnvKey:
    """Which env is meant. Raises InvalidKey naming the part that cannot be one."""

    workflow_id: str
    node_id: str
    version_id: str = ""

    def __post_init__(self) -> None:
        parts = {"workflow_id": self.workflow_id, "node_id": self.node_id, "version_id": self.version_id or "none"}
        for name, value in parts.items():
            if not PART.fullmatch(value):
                raise InvalidKey(name, value, PART.pattern)
        if len(self.folder) > LONGEST:
            raise InvalidKey("key", str(self), f"at most {LONGEST} characters together, each underscore counted twice")

    @property
    def parts(self) -> tuple[str, str, str]:
        return self.workflow_id, self.node_id, self.version_id

    @property
    def folder(self) -> str:
        """The name of its folder: parts joined by "_", an underscore inside a part doubled.

        A part never begins with an underscore, so the last one of an odd run joins: no two keys share a folder.
        """
        named = [part for part in self.parts if part]
        return "_".join(part.replace("_", "__") for part in named)

    @classmethod
    def of_folder(cls, folder: str) -> EnvKey:
        """The key whose folder is called so; raises InvalidKey for a name that no key has."""
        runs = [found.span() for found in re.finditer("_+", folder)]
        joints = [-1, *(end - 1 for start, end in runs if (end - start) % 2), len(folder)]
        parts = [folder[before + 1 : joint].replace("__", "_") for before, joint in pairwise(joints)]
        if not 2 <= len(parts) <= 3:
            raise InvalidKey("folder", folder, "workflow_node or workflow_node_version")
        return cls(*parts)

    def __str__(self) -> str:
        return "/".join(part for part in self.parts if part)
