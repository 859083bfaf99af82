"""What an env may contain: envs/policy.toml, enforced when a lock is made."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import Version
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from egoworld_resources.environments.declaration import read_toml
from egoworld_resources.environments.errors import BadDeclaration, LockRefused

COMMIT = re.compile(r"^[0-9a-f]{40}$")


class Policy(BaseModel):
    """Rules of envs/policy.toml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    glibc: str = Field(default="2.36", pattern=r"^2\.\d+$", description="oldest glibc that the envs must run on")
    cuda: tuple[str, ...] = Field(default=("torch",), description="packages whose CPU-only builds are refused")

    @classmethod
    def read(cls, file: Path) -> Policy:
        """The rules of ``file``, or the defaults when there is no such file."""
        if not file.is_file():
            return cls.model_validate({})
        try:
            return cls.model_validate(read_toml(file))
        except ValidationError as error:
            first = error.errors()[0]
            raise BadDeclaration(file, ".".join(str(part) for part in first["loc"]), first["msg"]) from error

    def check(self, env: str, entries: list[dict[str, Any]]) -> None:
        """Raise LockRefused naming the first package that breaks a rule. entries: the packages of a lock."""
        names = {canonicalize_name(entry["name"]) for entry in entries}
        has_cuda = any(name.startswith(("nvidia-", "cuda-")) for name in names)
        for entry in entries:
            self._check_source(env, entry)
            if canonicalize_name(entry["name"]) in self.cuda:
                self._check_cuda(env, entry, has_cuda)

    def _check_source(self, env: str, entry: dict[str, Any]) -> None:
        for key, kind in (("directory", "a folder"), ("archive", "an archive")):
            if key in entry:
                raise LockRefused(
                    f"env '{env}': {entry['name']} comes from {kind}; allowed are an index and git with a full commit"
                )
        vcs = entry.get("vcs")
        if vcs and not COMMIT.match(vcs.get("commit-id", "")):
            raise LockRefused(f"env '{env}': {entry['name']} comes from {vcs.get('url')} without a full commit")

    def _check_cuda(self, env: str, entry: dict[str, Any], has_cuda: bool) -> None:
        local = Version(entry.get("version", "0")).local or ""
        if local.startswith("cpu") or not (local.startswith("cu") or has_cuda):
            raise LockRefused(
                f"env '{env}': {entry['name']} {entry.get('version')} is a CPU-only build; the servers need CUDA. "
                "Remove folders and indexes with +cpu wheels from uv's settings and lock again"
            )
