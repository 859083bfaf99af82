"""What an env of conda packages is to hold: an environment.yml as conda's users know it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml

from egoworld_resources.workflow_envs.errors import InvalidPackages, PythonNotFound

FILE = "environment.yml"
LOCK = "conda-linux-64.lock"
NO_PYTHON = "none"
VERSION = re.compile(r"3\.\d{1,2}(\.\d{1,2})?")
NAME = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass(frozen=True)
class Declaration:
    """Name of the env, channels in their order, and match specs by which the solver chooses."""

    name: str
    channels: tuple[str, ...]
    dependencies: tuple[str, ...]

    @classmethod
    def read(cls, folder: Path) -> Declaration:
        return cls.parse((folder / FILE).read_text(encoding="utf-8"))

    @classmethod
    def parse(cls, text: str) -> Declaration:
        """From the text of an environment.yml. Raises InvalidPackages naming the key that cannot be used."""
        try:
            read: Any = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise InvalidPackages(f"{FILE} is no YAML: {error}") from error
        if not isinstance(read, dict):
            raise InvalidPackages(f"{FILE} must have the keys name, channels and dependencies")
        found = cast(dict[str, Any], read)
        if unknown := sorted(set(found) - {"name", "channels", "dependencies", "prefix"}):
            raise InvalidPackages(f"{FILE}: {', '.join(unknown)} is not taken; known: name, channels, dependencies")
        return cls(str(found.get("name") or ""), _texts(found, "channels"), _texts(found, "dependencies"))

    def write(self, folder: Path) -> None:
        (folder / FILE).write_text(self.text, encoding="utf-8")

    @property
    def text(self) -> str:
        """As YAML."""
        keys = {"name": self.name, "channels": list(self.channels), "dependencies": list(self.dependencies)}
        return yaml.safe_dump(keys, sort_keys=False, allow_unicode=True)

    @property
    def words(self) -> tuple[str, ...]:
        """What a lock is made for: channels, then dependencies."""
        return (*self.channels, "", *self.dependencies)


def name_of(spec: str) -> str:
    """The package that a match spec is about, in lower case."""
    found = NAME.match(spec.rpartition("::")[2].strip())
    return found.group().lower() if found else ""


def merged(declared: Sequence[str], wanted: Sequence[str]) -> tuple[str, ...]:
    """The dependencies with those ``wanted`` put in place of others of the same names, sorted."""
    specs = {name_of(spec): spec for spec in [*declared, *wanted]}
    return tuple(specs[name] for name in sorted(specs))


def python_spec(version: str) -> tuple[str, ...]:
    """The dependency on Python ``version``; none for "none" and "". Raises PythonNotFound."""
    if version in ("", NO_PYTHON):
        return ()
    if not VERSION.fullmatch(version):
        raise PythonNotFound(
            f"Python {version!r} is not a version such as 3.11; {NO_PYTHON!r} makes an env without Python"
        )
    return (f"python {version}.*",) if version.count(".") == 1 else (f"python =={version}",)


def _texts(found: dict[str, Any], key: str) -> tuple[str, ...]:
    read: Any = found.get(key) or []
    if not isinstance(read, list):
        raise InvalidPackages(f"{FILE}: {key} must be a list")
    for one in cast(list[Any], read):
        if isinstance(one, dict) and "pip" in one:
            raise InvalidPackages(
                f"{FILE}: packages of pip are not mixed into a conda env, whose lock cannot hold them; put them into "
                "an env of the backend uv"
            )
        if not isinstance(one, str):
            raise InvalidPackages(f"{FILE}: {key} must be texts, got {one!r}")
    return tuple(cast(list[str], read))
