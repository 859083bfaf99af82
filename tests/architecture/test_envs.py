"""What every model env folder and every lock keeps to."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

from egoworld_resources.environments.catalog import BASE, Catalog
from egoworld_resources.environments.checkout import checkout_catalog
from egoworld_resources.environments.contract import root_source
from egoworld_resources.environments.locking.lockfile import Lock
from egoworld_resources.environments.policy.rules import Policy

REPOSITORY = Path(__file__).resolve().parents[2]
NAMES = checkout_catalog(REPOSITORY).names
MODELS = [(stage, name) for name in NAMES for stage in checkout_catalog(REPOSITORY).env(name).stages]


def lock_files() -> list[Path]:
    return sorted([*REPOSITORY.glob("locks/pylock.*.toml"), *REPOSITORY.glob("tests/locks/pylock.*.toml")])


@pytest.mark.parametrize("env", NAMES)
def test_every_lock_is_of_today(catalog: Catalog, env: str) -> None:
    assert len(catalog.lock_digest(env)) == 64


def test_the_lock_of_the_tools_follows_that_of_base() -> None:
    root = REPOSITORY / "pyproject.toml"
    base = Lock.read(BASE, REPOSITORY / "locks" / "pylock.base.toml")
    tools = Lock.read(BASE, REPOSITORY / "locks" / "pylock.dev.toml")
    tools.check(BASE, root_source(root, "dev"), root)
    assert base.packages("3.11").items() <= tools.packages("3.11").items()


def test_no_lock_is_left_over() -> None:
    wanted = {f"pylock.{checkout_catalog(REPOSITORY).env(name).runs_in}.toml" for name in NAMES} | {"pylock.dev.toml"}
    assert {file.name for file in lock_files()} <= wanted


@pytest.mark.parametrize("file", lock_files(), ids=lambda file: file.name)
def test_a_lock_holds_only_what_the_policy_allows(file: Path) -> None:
    entries = tomllib.loads(file.read_text(encoding="utf-8"))["packages"]
    Policy.read(REPOSITORY / "envs" / "policy.toml").check(file.stem, entries)
    files = [wheel for entry in entries for wheel in entry.get("wheels", [])]
    assert [wheel["url"] for wheel in files if re.search(r"musllinux|macosx|win_amd64|aarch64", wheel["url"])] == []
    assert [wheel["url"] for wheel in files if len(wheel["hashes"].get("sha256", "")) != 64] == []


@pytest.mark.parametrize(("stage", "env"), MODELS)
def test_every_runner_is_a_class_of_its_module(catalog: Catalog, stage: str, env: str) -> None:
    model = catalog.model(stage, env)
    tree = ast.parse((model.folder / f"{model.module}.py").read_bytes())
    assert model.runner.partition(":")[2] in {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    assert len(catalog.runner_digest(stage, env)) == 64


@pytest.mark.parametrize("env", [name for name in NAMES if checkout_catalog(REPOSITORY).env(name).stages])
def test_every_model_env_is_explained(catalog: Catalog, env: str) -> None:
    assert (catalog.env(env).folder / "README.md").is_file()


@pytest.mark.parametrize("env", [name for name in NAMES if checkout_catalog(REPOSITORY).env(name).interpreter != BASE])
def test_every_dependency_has_its_reason_beside_it(catalog: Catalog, env: str) -> None:
    lines = catalog.env(env).pyproject.read_text(encoding="utf-8").splitlines()
    bare = [
        dependency
        for dependency in catalog.env(env).dependencies
        if not any(f'"{dependency}"' in line and "#" in line for line in lines)
    ]
    assert bare == []
