"""An env that is apart needs a conflict or a reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from egoworld_resources.environments.policy.rules import Policy
from egoworld_resources.environments.policy.split import split_breaches
from tests.made_envs import made_catalog, made_env


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """One env that contradicts a pin of ours, one that does not, and one of our own interpreter."""
    root = '[project]\nname = "x"\nversion = "0"\ndependencies = ["numpy==2.4.6"]\n'
    (tmp_path / "pyproject.toml").write_text(root, encoding="utf-8")
    made_env(tmp_path, "old_numpy", dependencies=("numpy==1.26.4",))
    made_env(tmp_path, "free", dependencies=("numpy>=2",), stage="masks")
    made_env(tmp_path, "base", interpreter="base", stage="tracks")
    return tmp_path


def found(project: Path, split: dict[str, str] | None) -> list[str]:
    return [breach.found for breach in split_breaches(made_catalog(project), Policy(split=split))]


def test_a_conflict_or_a_reason(project: Path) -> None:
    assert found(project, None) == [], "without the table nobody asks"
    assert found(project, {}) == ["no pin keeps free out of our own interpreter, and no reason is written down"]
    assert found(project, {"free": " "}) == found(project, {})
    assert found(project, {"free": "its weights are large"}) == []
    outlived = found(project, {"free": "its weights are large", "gone": "it was slow", "base": "no"})
    assert [words.partition(" ")[0] for words in outlived] == ["base", "gone"]
    made_env(project, "shares", interpreter="free", stage="detections")
    assert found(project, {"free": "its weights are large"}) == [], "it is apart from nothing that free is not"


def test_every_env_of_the_project_that_is_apart_has_one(repository: Path) -> None:
    from egoworld_resources.environments.checkout import checkout_catalog

    policy = Policy.read(repository / "envs" / "policy.toml")
    assert policy.split
    assert list(split_breaches(checkout_catalog(repository), policy)) == []
