"""What the code imports is declared: a package that only another one brings is gone when that one changes."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[2]
BASE, RUNNER = REPOSITORY / "pyproject.toml", REPOSITORY / "envs" / "runner" / "pyproject.toml"
OURS = ("egoworld_assets", "egoworld_resources", "egoworld_runner")


def declared(project: Path) -> set[str]:
    """Names of the packages that a project depends on, those of its extras too."""
    facts = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
    extras = facts.get("optional-dependencies", {}).values()
    return {canonicalize_name(Requirement(one).name) for one in sum(extras, facts["dependencies"])}


def imported(node: ast.AST) -> Iterator[str]:
    """Top modules that code imports when it runs, not those that types alone need."""
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        return
    if isinstance(node, ast.Import):
        yield from (name.name.partition(".")[0] for name in node.names)
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield node.module.partition(".")[0]
    for child in ast.iter_child_nodes(node):
        yield from imported(child)


def undeclared(folder: Path, known: set[str]) -> list[str]:
    """Module and file of every import below a folder that none of the declared packages gives."""
    local = {path.stem for path in folder.glob("*.py")}
    given = {module: {canonicalize_name(name) for name in names} for module, names in packages_distributions().items()}
    found: set[str] = set()
    for file in sorted(folder.rglob("*.py")):
        for module in imported(ast.parse(file.read_text(encoding="utf-8"))):
            free = module in sys.stdlib_module_names or module in OURS or module in local
            if not free and not given.get(module, {module}) & known:
                found.add(f"{module} ({file.relative_to(folder)})")
    return sorted(found)


@pytest.mark.parametrize(
    ("folder", "project"),
    [
        ("egoworld_assets", BASE),
        ("resources/egoworld_resources", BASE),
        ("envs/base", BASE),
        ("envs/runner/egoworld_runner", RUNNER),
    ],
)
def test_every_import_is_declared(folder: str, project: Path) -> None:
    assert undeclared(REPOSITORY / folder, declared(project)) == []


def test_an_undeclared_import_is_found(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text(
        "import yaml, numpy, os\nimport two\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import rich\n"
    )
    (tmp_path / "two.py").touch()
    assert undeclared(tmp_path, {"numpy"}) == ["yaml (one.py)"]
    assert undeclared(tmp_path, {"numpy", "pyyaml"}) == []
