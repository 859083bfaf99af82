"""`egoworld env check`: every rule is broken once and the line that tells it is seen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from egoworld_resources.environments.checkout import KIT_WHEELS
from egoworld_resources.environments.locking.resolve import write_lock
from egoworld_resources.environments.policy.check import Checked, check
from egoworld_resources.environments.policy.licences import Excepted, LicenceRules
from egoworld_resources.environments.policy.rules import Policy
from egoworld_resources.workflow_envs.conda.policy import conda_breaches
from made_envs import made_catalog, made_env

COMMIT = "a" * 40
GIT = f"tiny @ git+https://git.example/tiny@{COMMIT}"
POLICY = Policy(
    indexes=("https://mirror.example/simple",),
    constraints=("six>=1.16",),
    channels=("first", "second"),
    licences=LicenceRules(models=("MIT",), packages=("MIT",)),
)


def entry(name: str = "six", version: str = "1.17.0", wheel: str = "py3-none-any", **more: Any) -> dict[str, Any]:
    url = f"https://mirror.example/{name}-{version}-{wheel}.whl".replace("+", "%2B")
    file = {"url": url, "hashes": {"sha256": "0" * 64}}
    return {"name": name, "version": version, "index": "https://mirror.example/simple", "wheels": [file], **more}


class Project:
    """A project of one env whose lock keeps to every rule."""

    def __init__(self, folder: Path, dependencies: tuple[str, ...] = ("six==1.17.0",), more: str = "") -> None:
        self.folder = folder
        self.env = made_env(folder, "tiny_env", dependencies=dependencies, more=more)
        self.lock(entry())

    def lock(self, *entries: dict[str, Any], profile: str = "", python: str = ">=3.11") -> Path:
        file = self.folder / "locks" / "pylock.tiny_env.toml"
        source = made_catalog(self.folder).lock_source("tiny_env")
        return write_lock(file, list(entries), made_by="a test", python=python, source=source, profile=profile)

    def install(self, name: str, version: str, licence: str) -> None:
        """Metadata of an installed package, in the live generation of the env."""
        generation = self.folder / "built" / "tiny_env" / "one"
        info = generation / "lib" / "python3.11" / "site-packages" / f"{name}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Name: {name}\nVersion: {version}\nLicense-Expression: {licence}\n")
        (generation.parent / "current").symlink_to("one")

    def checked(self, policy: Policy = POLICY) -> Checked:
        catalog = made_catalog(self.folder)
        checked = check(catalog, policy, self.folder / "built")
        checked.found += conda_breaches(catalog, policy)
        return checked

    def lines(self, policy: Policy = POLICY) -> list[str]:
        return [found.line(self.folder) for found in self.checked(policy).found]


def test_what_keeps_to_every_rule_has_no_line_and_is_counted(tmp_path: Path) -> None:
    checked = Project(tmp_path).checked()
    assert checked.found == []
    assert checked.summary() == (
        "1 envs, licences of 0 of 1 locked packages read, not built, licences not read: tiny_env; 0 breaches"
    )


def no_lock(project: Project) -> None:
    (project.folder / "locks" / "pylock.tiny_env.toml").unlink()


def stale(project: Project) -> None:
    file = project.env / "pyproject.toml"
    file.write_text(file.read_text().replace("six==1.17.0", "six==1.16.0"))


def left_over(project: Project) -> None:
    project.lock(entry()).with_name("pylock.gone.toml").write_text('lock-version = "1.0"\n')


def without_sha256(project: Project) -> None:
    project.lock(entry(wheels=[{"url": "https://mirror.example/six-1.17.0-py3-none-any.whl"}]))


def pip_lock_without_sha256(project: Project) -> None:
    text = "# tools\nuv==1 --hash=sha256:00\ncaddy==2 \\\n  --hash=sha256:11\nloose==3\n"
    (project.folder / "locks" / "tools.txt").write_text(text)


def installs(project: Project) -> None:
    (project.env / "runner.py").write_text('import os\nos.system("pip install six")\n')


def own_index(project: Project) -> None:
    file = project.env / "pyproject.toml"
    file.write_text(f'{file.read_text()}\n[tool.uv]\nindex-url = "https://other.example/simple"\n')


def unpinned_git(project: Project) -> None:
    declare(project, "tiny @ git+https://git.example/tiny@main")


def archive(project: Project) -> None:
    declare(project, "tiny @ https://git.example/tiny.zip")


def other_commit(project: Project) -> None:
    declare(project, GIT)
    project.lock(entry("tiny", vcs={"type": "git", "url": "https://git.example/tiny", "commit-id": "b" * 40}))


def short_commit(project: Project) -> None:
    project.lock(entry("tiny", vcs={"type": "git", "url": "https://git.example/tiny", "commit-id": "main"}))


def conda(project: Project, channels: str, *, locked: bool = True) -> None:
    (project.env / "environment.yml").write_text(f"name: x\nchannels: [{channels}]\ndependencies: [cmake]\n")
    if locked:
        (project.env / "conda-linux-64.lock").write_text("@EXPLICIT\n")


def declare(project: Project, dependency: str) -> None:
    file = project.env / "pyproject.toml"
    file.write_text(file.read_text().replace("six==1.17.0", dependency))
    project.lock(entry())


def of_licence(project: Project) -> None:
    file = project.env / "pyproject.toml"
    file.write_text(file.read_text().replace('"MIT"', '"GPL-2.0-only"'))


def of_weights(project: Project) -> None:
    weights = f'name = "w"\npath = "w.safetensors"\nsha256 = "{"0" * 64}"\nlicence = "research only"\n'
    file = project.env / "pyproject.toml"
    file.write_text(f"{file.read_text()}\n[[tool.egoworld.stages.clips.weights]]\n{weights}")


def of_pickle(project: Project) -> None:
    weights = f'name = "w"\npath = "w.pt"\nsha256 = "{"0" * 64}"\nlicence = "MIT"\n'
    file = project.env / "pyproject.toml"
    file.write_text(f"{file.read_text()}\n[[tool.egoworld.stages.clips.weights]]\n{weights}")


def of_package(project: Project) -> None:
    project.install("six", "1.17.0", "ISC")


LOCK, PYPROJECT = "locks/pylock.tiny_env.toml", "envs/tiny_env/pyproject.toml"
YML = "envs/tiny_env/environment.yml"
Break = Callable[[Project], object]


@pytest.mark.parametrize(
    ("broken", "line"),
    [
        (no_lock, f"{LOCK}: lock: missing; make lock ENV=tiny_env"),
        (stale, f"{LOCK}: lock: was made from other dependencies than tiny_env names; make lock ENV=tiny_env"),
        (left_over, "locks/pylock.gone.toml: lock: no env declares it; remove it"),
        (without_sha256, f"{LOCK}: lock: a file of six has no sha256; make the lock again"),
        (pip_lock_without_sha256, "locks/tools.txt: lock: loose has no sha256; compile it with --generate-hashes"),
        (installs, "envs/tiny_env/runner.py: run time: line 2 installs at run time (pip install); name it in"),
        (own_index, f"{PYPROJECT}: indexes: [tool.uv] index-url is not read by `make lock`; remove it"),
        (lambda p: p.lock(entry(index="https://x.example")), f"{LOCK}: indexes: six comes from the index https://x"),
        (lambda p: p.lock(entry(version="1.15")), f"{LOCK}: constraints: six 1.15 does not meet six>=1.16; ask for"),
        (lambda p: p.lock(entry("torch", "2.10.0+cpu")), f"{LOCK}: cuda: torch 2.10.0+cpu is a CPU-only build"),
        (
            lambda p: p.lock(entry(), profile="cpu"),
            f"{LOCK}: cuda: was made for the profile cpu; keep it in",
        ),
        (unpinned_git, f"{PYPROJECT}: git: tiny is declared at 'main', not at a full commit; name the 40 hex digits"),
        (archive, f"{PYPROJECT}: git: tiny is declared as https://git.example/tiny.zip; allowed are versions"),
        (other_commit, f"{LOCK}: git: tiny is locked at {'b' * 40}, declared at {COMMIT}; make lock ENV=tiny_env"),
        (short_commit, f"{LOCK}: git: tiny comes from https://git.example/tiny without a full commit; name the 40"),
        (
            lambda p: p.lock(entry(wheel="cp311-cp311-musllinux_1_2_x86_64")),
            f"{LOCK}: linux-64: six-1.17.0-cp311-cp311-musllinux_1_2_x86_64.whl is a musllinux wheel for linux-64 with",
        ),
        (lambda p: p.lock(entry(wheel="cp311-cp311-win_amd64")), f"{LOCK}: linux-64: six-1.17.0-cp311-cp311-win_amd64"),
        (lambda p: p.lock(entry(wheel="cp311-cp311-manylinux_2_39_x86_64")), f"{LOCK}: linux-64: six-1.17.0-cp311-"),
        (lambda p: p.lock(entry(wheels=[])), f"{LOCK}: wheels: six 1.17.0 would be built from source; pin a version"),
        (
            lambda p: conda(p, "defaults"),
            f"{YML}: channels: conda channel defaults is not allowed; ",
        ),
        (
            lambda p: conda(p, "second, first"),
            f"{YML}: channels: conda channels are in the",
        ),
        (lambda p: conda(p, "first", locked=False), f"{YML}: lock: has no conda-linux-64.lock"),
        (of_licence, f"{PYPROJECT}: licences: licence of stage clips: 'GPL-2.0-only' is not among the licences of"),
        (of_weights, f"{PYPROJECT}: licences: licence of weights w: 'research only' is no SPDX expression; choose"),
        (of_pickle, f"{PYPROJECT}: pickles: weights w load as a pickle, which can run code; take them as safetensors"),
        (of_package, f"{LOCK}: licences: licence of six 1.17.0: 'ISC' is not among the licences of packages; choose"),
    ],
)
def test_a_broken_rule_is_one_line_with_file_rule_and_mend(tmp_path: Path, broken: Break, line: str) -> None:
    project = Project(tmp_path)
    broken(project)
    (found,) = project.lines()
    assert found.startswith(line)
    assert "; " in found


def test_a_git_dependency_of_the_declared_commit_keeps_to_the_rules(tmp_path: Path) -> None:
    project = Project(tmp_path)
    declare(project, GIT)
    vcs = {"type": "git", "url": "https://git.example/tiny", "commit-id": COMMIT}
    project.lock({"name": "tiny", "version": "1.0", "vcs": vcs})
    assert project.lines() == []


def test_a_source_that_the_env_lists_may_be_built(tmp_path: Path) -> None:
    project = Project(tmp_path)
    file = project.env / "pyproject.toml"
    file.write_text(file.read_text().replace('interpreter = "env"', 'interpreter = "env"\nsdists = ["Six"]'))
    sdist = {"url": "https://mirror.example/six.tar.gz", "hashes": {"sha256": "1" * 64}}
    built = {"name": "six", "version": "1.17.0", "index": "https://mirror.example/simple", "sdist": sdist}
    project.lock(built)
    assert project.lines() == []


def test_the_licences_of_a_built_env_are_read_and_counted(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.install("six", "1.17.0", "MIT")
    assert project.checked().summary() == "1 envs, licences of 1 of 1 locked packages read; 0 breaches"
    project.lock(entry(), entry("other"))
    assert project.checked().summary() == (
        "1 envs, licences of 1 of 2 locked packages read, not installed under this Python: other 1.17.0; 0 breaches"
    )


def test_a_lock_that_cannot_be_read_is_a_line_of_its_own(tmp_path: Path) -> None:
    project = Project(tmp_path)
    (tmp_path / "locks" / "pylock.tiny_env.toml").write_text("[[[")
    (line,) = project.lines()
    assert line.startswith("locks/pylock.tiny_env.toml: lock: cannot be read")
    assert line.endswith("make lock ENV=tiny_env")


def test_a_lock_that_envs_share_is_checked_once_and_their_code_and_licences_each(tmp_path: Path) -> None:
    project = Project(tmp_path)
    for name in ("boxes", "shapes"):
        made_env(tmp_path, name, interpreter="tiny_env", stage=name)
    assert project.lines() == []
    declared = tmp_path / "envs" / "boxes" / "pyproject.toml"
    declared.write_text(declared.read_text().replace('licence = "MIT"', 'licence = "GPL-2.0-only"'))
    (tmp_path / "locks" / "pylock.tiny_env.toml").unlink()
    lines = project.lines()
    assert [line.partition(":")[0] for line in lines].count("locks/pylock.tiny_env.toml") == 1
    assert [line.partition(":")[0] for line in lines].count("envs/boxes/pyproject.toml") == 1


def test_an_exception_that_no_lock_needs_any_more_is_a_breach(tmp_path: Path) -> None:
    excepted = {"gone": Excepted(licence="ISC", reason="was needed")}
    rules = LicenceRules(models=("MIT",), packages=("MIT",), excepted=excepted)
    project = Project(tmp_path)
    (line,) = project.lines(Policy(licences=rules))
    assert line == "envs/policy.toml: licences: names gone, which no lock has any more; remove it there"
    (tmp_path / KIT_WHEELS).mkdir(parents=True)
    assert project.lines(Policy(licences=rules)) == [], "a kit need not bring every lock"


def test_the_checkout_breaks_no_rule(repository: Path, catalog: Any) -> None:
    policy = Policy.read(repository / "envs" / "policy.toml")
    checked = check(catalog, policy, repository / "data" / "envs")
    assert [found.line(repository) for found in checked.found] == []
