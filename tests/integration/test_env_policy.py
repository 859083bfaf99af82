"""The policy of envs with the real uv and the real command line, on wheels made here: no index is asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from egoworld_assets.cli.app import app
from egoworld_resources.environments.building.builder import EnvBuilder
from egoworld_resources.environments.building.uv import Uv
from egoworld_resources.environments.catalog import Catalog
from egoworld_resources.environments.checkout import catalog_of
from egoworld_resources.environments.errors import BadDeclaration, LockMissing, LockRefused
from egoworld_resources.environments.locking.conflicts import conflicts
from egoworld_resources.environments.locking.resolve import lock
from egoworld_resources.environments.policy.rules import Policy
from made_envs import made_env, made_wheel

POLICY = """
constraints = ["paint>=1", "brush<2"]
cuda = ["torch"]
indexes = ["{wheels}"]
[profiles.cpu]
cuda = []
"""
ROOT = '[project]\nname = "made-up"\nversion = "0"\nrequires-python = ">=3.11"\ndependencies = ["brush==1.0"]\n'
CONTRACT = (("av", "99.0"), ("numpy", "99.0"), ("pyarrow", "99.0"))


class Project:
    """A project with a folder of wheels that uv takes for the only index, and a cache of its own."""

    def __init__(self, folder: Path, uv: Path) -> None:
        self.folder, self.uv = folder, Uv(uv, folder / "cache")
        self.wheels = folder / "wheels"
        made = [("paint", "1.0"), ("paint", "2.0"), ("brush", "1.0"), ("brush", "2.0"), ("torch", "99.0+cpu")]
        for name, version in (*made, *CONTRACT):
            made_wheel(self.wheels, name, version, {f"{name}.py": ""})
        (folder / "pyproject.toml").write_text(ROOT)
        self.env("red", "paint==1.0")
        (folder / "envs" / "policy.toml").write_text(POLICY.format(wheels=self.wheels))

    def env(self, name: str, *dependencies: str, more: str = "", **kind: str) -> Path:
        return made_env(self.folder, name, dependencies=dependencies, more=more, **kind)

    def catalog(self, profile: str = "") -> Catalog:
        return catalog_of([self.folder / "envs"], profile)

    def lock(self, name: str, profile: str = "") -> Path:
        (file,) = lock(name, self.catalog(profile), self.uv, profile=profile)
        return file

    @property
    def settings(self) -> dict[str, str]:
        own = {"PROJECT": self.folder, "HOME": self.folder / "data", "UV": self.uv.program, "UV_CACHE": self.uv.cache}
        return {f"EGOWORLD_{name}": str(value) for name, value in own.items()}

    def run(self, *words: str) -> Result:
        """``egoworld env`` with these words, in this process."""
        return CliRunner().invoke(app, ["env", *words], env=self.settings)


@pytest.fixture
def project(tmp_path: Path, uv: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    (tmp_path / "empty_index").mkdir()
    monkeypatch.setenv("UV_DEFAULT_INDEX", (tmp_path / "empty_index").as_uri())
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path / "wheels"))
    return Project(tmp_path, uv)


def test_the_resolver_is_held_to_the_constraints(project: Project) -> None:
    project.env("blue", "brush")
    project.lock("blue")
    assert project.catalog().packages("blue")["brush"] == "1.0", "2.0 is there too"
    project.env("green", "brush==2.0")
    with pytest.raises(LockRefused, match=r"(?s)locking env 'green'.*brush==2\.0.*unsatisfiable"):
        project.lock("green")


def test_a_lock_of_the_cpu_profile_serves_that_profile_only(project: Project) -> None:
    project.env("net", "torch==99.0")
    with pytest.raises(LockRefused, match=r"torch 99\.0\+cpu is a CPU-only build"):
        project.lock("net")
    file = project.lock("net", "cpu")
    assert file == project.folder / "locks" / "cpu" / "pylock.net.toml"
    assert project.catalog("cpu").packages("net")["torch"] == "99.0+cpu"
    assert project.lock("net", "cpu") == file
    built = EnvBuilder(project.folder / "made", project.catalog("cpu"), project.uv.program, project.uv.cache)
    assert built.ensure("net").lock_digest == project.catalog("cpu").lock_digest("net")
    with pytest.raises(LockMissing):
        project.catalog().lock("net")
    with pytest.raises(BadDeclaration, match="has no 'gpu'; known: cpu"):
        project.catalog("gpu")


def test_which_envs_could_be_one_in_the_resolvers_words(project: Project) -> None:
    project.env("blue", "paint==2.0")
    project.env("green", "brush==1.0")
    project.env("ours", interpreter="base")
    answer = conflicts(project.catalog(), project.uv, Policy(), ["red", "blue", "green", "ours"])
    could = {pair.envs: pair.could for pair in answer.pairs}
    assert [envs for envs, one in could.items() if one is False] == [("blue", "red")]
    assert len(could) == 6
    (words,) = (pair.words for pair in answer.pairs if pair.words)
    assert "paint==1.0" in words
    assert "unsatisfiable" in words
    assert answer.groups == [("base", "blue", "green"), ("red",)]
    assert answer.unneeded() == ["blue", "green", "red"]
    assert not answer.offline


def test_an_override_holds_only_where_no_other_env_has_the_package(project: Project) -> None:
    """An env that does without a package does not take it from another that has it in a version that fits nothing."""
    project.env("blue", "paint==2.0", more="\n[tool.uv]\noverride-dependencies = [\"paint ; sys_platform == 'no'\"]\n")
    answer = conflicts(project.catalog(), project.uv, Policy(), ["red", "blue"])
    assert [pair.could for pair in answer.pairs] == [False]


def test_pythons_that_do_not_meet_cannot_be_one(project: Project) -> None:
    project.env("old", "brush", python=">=3.11,<3.12")
    project.env("new", "brush", python=">=3.12")
    (pair,) = conflicts(project.catalog(), project.uv, Policy(), ["old", "new"]).pairs
    assert pair.could is False
    assert "no Python fits all of them" in pair.words


def test_an_index_that_does_not_answer_is_not_taken_for_a_conflict(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("FIND_LINKS", ""), ("HTTP_RETRIES", "0")):
        monkeypatch.setenv(f"UV_{name}", value)
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    project.env("blue", "paint==2.0")
    project.env("green", "brush==1.0")
    answer = conflicts(project.catalog(), project.uv, Policy(), ["red", "green"])
    assert answer.offline
    assert [pair.could for pair in answer.pairs] == [None]
    assert answer.groups == [("green",), ("red",)]


def test_the_commands_on_a_project(project: Project) -> None:
    project.lock("red")
    command, outer = (
        [sys.executable, "-m", "egoworld_assets.cli", "env", "check"],
        {**os.environ, **project.settings},
    )
    checked = subprocess.run(command, env=outer, capture_output=True, text=True, check=False)
    assert checked.returncode == 1
    assert "envs/matrix.md: matrix: missing; egoworld env matrix" in checked.stdout.splitlines()
    assert project.run("matrix").stdout.splitlines()[0] == "red: first lock: 4 packages"
    whole = project.run("check")
    assert whole.exit_code == 0, whole.output
    assert "not built, licences not read: red; 0 breaches" in whole.stdout
    pyproject = project.folder / "envs" / "red" / "pyproject.toml"
    pyproject.write_text(pyproject.read_text().replace("paint==1.0", "paint==2.0"))
    stale = project.run("check", "--json")
    assert stale.exit_code == 1
    assert [breach["rule"] for breach in json.loads(stale.stdout)["breaches"]] == ["lock"]
    project.lock("red")
    behind = project.run("matrix", "--check")
    assert behind.exit_code == 1
    assert "locks changed without it (red: paint 1.0 -> 2.0)" in behind.stdout
    (phase,) = json.loads(project.run("phase", "--json").stdout)["envs"]
    assert (phase["env"], phase["phase"]) == ("red", "B")
    project.env("blue", "paint==1.0")
    conflicts = project.run("conflicts").stdout
    assert "blue + red: cannot be one, uv says:" in conflicts
    assert "fewest envs, taken in this order: 2" in conflicts


def test_envs_of_other_folders_are_asked_too(project: Project) -> None:
    project.lock("red")
    more = made_env(project.folder / "more", "mine")
    (more / "runner.py").write_text("import pip\n")
    result = CliRunner().invoke(
        app, ["env", "check"], env={**project.settings, "EGOWORLD_EXTRA_ENVS": json.dumps([str(more.parent)])}
    )
    assert "more/envs/mine/runner.py: run time: line 1 installs at run time (import pip)" in result.stdout
    assert "more/locks/pylock.mine.toml: lock: missing; make lock ENV=mine" in result.stdout
