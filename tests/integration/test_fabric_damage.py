"""Envs that somebody changed or took parts of: named as what they are, repaired or removed, without harm to others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from egoworld_resources.environments.building.generations import READY
from egoworld_resources.environments.building.uv import Uv
from egoworld_resources.environments.building.venv import Building
from egoworld_resources.environments.locking.lockfile import source_of
from egoworld_resources.workflow_envs.errors import (
    Damaged,
    EnvAlreadyExists,
    EnvNotFound,
    InvalidPackages,
    ResolutionFailed,
)
from egoworld_resources.workflow_envs.fabric import Fabric
from egoworld_resources.workflow_envs.keys import EnvKey
from egoworld_resources.workflow_envs.uv_backend import UvBackend
from made_fabric import KEY, TESTER, made_fabric, made_policy, versions
from made_index import made_index

OTHER = EnvKey("flow", "other")


@pytest.fixture
def fabric(tmp_path: Path, uv: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fabric]:
    """With two envs of tiny."""
    with made_index(tmp_path / "index") as index:
        monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)
        found = made_fabric(tmp_path / "data", uv)
        for key in (KEY, OTHER):
            found.create(key, TESTER, packages=["tiny<2"])
        yield found


def live(fabric: Fabric) -> Path:
    """The generation of the env that is harmed."""
    found = fabric.places.generations(KEY).current()
    assert found is not None
    return found


def statuses(fabric: Fabric) -> dict[EnvKey, str]:
    return {env.key: env.status for env in fabric.list()}


def test_all_that_is_asked_of_a_package_counts(fabric: Fabric) -> None:
    with pytest.raises(ResolutionFailed, match="No solution"):
        fabric.create(EnvKey("flow", "never"), TESTER, packages=["tiny<2", "tiny>=2"])
    made = fabric.create(EnvKey("flow", "twice"), TESTER, packages=["Tiny", "tiny<2", "tiny", "tiny!=2.0"])
    assert versions(made) == {"tiny": "1.0"}
    git = "tiny @ git+https://git.example/tiny@"
    with pytest.raises(InvalidPackages, match="are about one package"):
        fabric.create(EnvKey("flow", "git"), TESTER, packages=[git + "a" * 40, git + "b" * 40])


def test_a_rule_of_the_policy_that_is_in_the_way_is_named(fabric: Fabric, uv: Path) -> None:
    policy = made_policy(constraints=["tiny>=2"])
    ruled = {"uv": UvBackend(Building(Uv(uv, fabric.config.uv_cache_dir)), policy)}
    with pytest.raises(ResolutionFailed, match=r"envs/policy\.toml asks of every env: tiny>=2"):
        replace(fabric, backends=ruled).create(EnvKey("flow", "ruled"), TESTER, packages=["tiny<2"])


def lock_of_another(generation: Path) -> None:
    file = generation / "pylock.toml"
    file.write_text(
        file.read_text().replace('"1.0"', '"2.0"', 2).replace('lock-version = "2.0"', 'lock-version = "1.0"')
    )


def declared_otherwise(generation: Path) -> None:
    file = generation / "pyproject.toml"
    file.write_text(file.read_text().replace("tiny<2", "leaf"))


@pytest.mark.parametrize("edit", [lock_of_another, declared_otherwise])
def test_a_lock_that_was_edited_is_never_installed(fabric: Fabric, edit: Callable[[Path], None]) -> None:
    edit(live(fabric))
    for look in (fabric.get, fabric.verify, lambda key: fabric.sync(key, TESTER)):
        with pytest.raises(Damaged, match="changed since it was resolved"):
            look(KEY)
    assert statuses(fabric) == {KEY: "damaged", OTHER: "ready"}
    repaired = fabric.update(KEY, TESTER)
    assert repaired.status == "ready"
    assert {name: fabric.run(KEY, f"import {name}", TESTER).exit_code for name in versions(repaired)} == dict.fromkeys(
        versions(repaired), 0
    )


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("pyproject.toml", "[[["),
        ("pyproject.toml", "project = 'none'"),
        ("pylock.toml", "[[["),
        ("pylock.toml", "lock-version = '1.0'\n[[packages]]\nversion = '1'\n[tool.egoworld]\nsource = '{source}'\n"),
    ],
)
def test_an_env_that_cannot_be_read_is_its_own_fault(fabric: Fabric, file: str, text: str) -> None:
    source = source_of(["tiny<2"], "==3.11.*")
    (live(fabric) / file).write_text(text.format(source=source))
    assert statuses(fabric) == {KEY: "damaged", OTHER: "ready"}
    with pytest.raises(Damaged, match=file):
        fabric.get(KEY)
    assert OTHER in fabric.cleanup(TESTER, idle_hours=0, dry_run=True)
    fabric.delete(KEY, TESTER)
    assert statuses(fabric) == {OTHER: "ready"}


def test_an_env_that_does_not_say_that_it_is_whole_is_made_anew_or_removed(fabric: Fabric) -> None:
    (live(fabric) / READY).unlink()
    assert statuses(fabric)[KEY] == "damaged"
    for call in (fabric.get, lambda key: fabric.add(key, ["leaf"], TESTER), lambda key: fabric.run(key, "1", TESTER)):
        with pytest.raises(Damaged, match="sync it, or delete it"):
            call(KEY)
    with pytest.raises(EnvAlreadyExists):
        fabric.create(KEY, TESTER)
    assert fabric.sync(KEY, TESTER).status == "ready"
    (live(fabric) / READY).unlink()
    fabric.delete(KEY, TESTER)
    with pytest.raises(EnvNotFound):
        fabric.get(KEY)


def test_an_env_whose_generation_is_gone_can_be_deleted(fabric: Fabric) -> None:
    generation = live(fabric)
    generation.rename(generation.with_name("away"))
    assert statuses(fabric)[KEY] == "damaged"
    with pytest.raises(Damaged, match="delete it and create it again"):
        fabric.sync(KEY, TESTER)
    fabric.delete(KEY, TESTER)
    assert versions(fabric.create(KEY, TESTER, packages=["tiny"])) == {"tiny": "2.0"}


def test_verify_names_what_was_added_and_tells_what_was_touched(fabric: Fabric) -> None:
    packages = next(live(fabric).glob("lib/*/site-packages"))
    (packages / "sitecustomize.py").write_text("")
    with pytest.raises(Damaged, match=r"sitecustomize\.py") as raised:
        fabric.verify(KEY)
    assert raised.value.details["files"] == ["sitecustomize.py"]
    (packages / "sitecustomize.py").unlink()
    (packages / "tiny.py").touch()
    with pytest.raises(Damaged, match="were touched"):
        fabric.verify(KEY)
    fabric.sync(KEY, TESTER)
    assert fabric.verify(KEY).status == "ready"


def test_another_interpreter_in_its_place_runs_nothing(fabric: Fabric) -> None:
    python = live(fabric) / "bin" / "python"
    python.unlink()
    python.symlink_to("/bin/true")
    with pytest.raises(Damaged, match="sync it"):
        fabric.run(KEY, "print(1)", TESTER)
    with pytest.raises(Damaged):
        fabric.verify(KEY)
    fabric.sync(KEY, TESTER)
    assert fabric.run(KEY, "print(1)", TESTER).stdout == "1\n"
