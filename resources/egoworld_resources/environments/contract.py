"""What our own code brings into every lock: the needs of the runner contract and of our own interpreter."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any, cast

from egoworld_resources.environments.declaration import read_toml
from egoworld_resources.environments.errors import BadDeclaration
from egoworld_resources.environments.locking.lockfile import source_of
from egoworld_resources.settings import PROJECT


def contract_folder() -> Path:
    """Folder of the package egoworld_runner. Only its pyproject.toml lies beside it: envs have that on their path."""
    return PROJECT / "envs" / "runner" / "egoworld_runner"


def runner_dependencies() -> list[str]:
    """What the runner contract itself needs; a part of every lock."""
    return strings(contract_folder().parent / "pyproject.toml", "project.dependencies")


def root_dependencies(pyproject: Path, group: str | None = None) -> list[str]:
    """What our own interpreter holds: the root project with its extras, the contract's needs and, if named, a group."""
    project = read_toml(pyproject).get("project", {})
    extras = [f"project.optional-dependencies.{extra}" for extra in project.get("optional-dependencies", {})]
    groups = [f"dependency-groups.{group}"] if group else []
    named = [one for key in ("project.dependencies", *extras, *groups) for one in strings(pyproject, key)]
    return list(dict.fromkeys([*named, *runner_dependencies()]))


def root_source(pyproject: Path, group: str | None = None) -> str:
    """Digest of what our own interpreter's lock is made from."""
    return source_of(
        root_dependencies(pyproject, group), requires_python(pyproject), overrides=root_overrides(pyproject)
    )


def root_overrides(pyproject: Path) -> list[str]:
    """Requirements of the root project that replace what a package asks for."""
    return strings(pyproject, "tool.uv.override-dependencies", missing=[])


def requires_python(pyproject: Path) -> str:
    """The root project's requires-python."""
    value = _at(read_toml(pyproject), "project.requires-python")
    if not isinstance(value, str):
        raise BadDeclaration(
            pyproject, "project.requires-python", "must be a version specifier, such as '>=3.11,<3.13'"
        )
    return value


def strings(pyproject: Path, dotted: str, missing: list[str] | None = None) -> list[str]:
    """A list of strings in a TOML file; raises BadDeclaration when it is absent and ``missing`` is None."""
    value = _at(read_toml(pyproject), dotted)
    if value is None and missing is not None:
        return missing
    if not isinstance(value, list):
        raise BadDeclaration(pyproject, dotted, "must be a list of requirements")
    return [str(item) for item in cast("list[Any]", value)]


def _at(document: dict[str, Any], dotted: str) -> Any:
    value: Any = document
    for part in dotted.split("."):
        value = cast("dict[str, Any]", value).get(part) if isinstance(value, dict) else None
    return value


PATH_LINE = "import sys; sys.path.append("


def path_line(folder: Path) -> str:
    """The line of a .pth file that puts a folder on the path; ASCII, for Python reads it in the locale's encoding."""
    return str(folder) if str(folder).isascii() else f"{PATH_LINE}{str(folder)!a})"


def folder_of(line: str) -> Path | None:
    """The folder that a line of a .pth file puts on the path; None for any other line."""
    if line.startswith(PATH_LINE):
        return Path(ast.literal_eval(line.strip()[len(PATH_LINE) : -1]))
    return Path(line.strip()) if line.startswith("/") else None
