"""Rules of the policy that packages of a lock break, and reading them with a profile."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from egoworld_resources.environments.errors import BadDeclaration, LockRefused
from egoworld_resources.environments.locking.indexes import PUBLIC, PublicIndex, origin_allowed
from egoworld_resources.environments.policy.rules import Policy

INDEX = "https://mirror.example/simple"


def package(name: str = "tiny", version: str = "1.0", **more: Any) -> dict[str, Any]:
    wheel = {"url": f"https://mirror.example/files/{name}.whl", "hashes": {"sha256": "0" * 64}}
    return {"name": name, "version": version, "index": INDEX, "wheels": [wheel], **more}


def breaches_of(policy: Policy, *entries: dict[str, Any]) -> list[tuple[str, str]]:
    return [(breach.rule, breach.found) for breach in policy.breaches(entries)]


def test_a_package_of_another_index_is_refused() -> None:
    policy = Policy(indexes=(INDEX,))
    assert breaches_of(policy, package()) == []
    assert breaches_of(policy, package(index="https://other.example/simple")) == [
        ("indexes", "tiny comes from the index https://other.example/simple")
    ]
    stray = package(wheels=[{"url": "https://other.example/tiny.whl"}])
    assert breaches_of(policy, stray) == [("indexes", "a file of tiny comes from https://other.example/tiny.whl")]
    assert breaches_of(policy, package(wheels=[{"path": "wheels/tiny.whl"}]))[0][0] == "indexes"
    assert breaches_of(Policy(), stray) == [], "without a list there is no rule"


def test_a_folder_of_wheels_is_an_index_too(tmp_path: Path) -> None:
    inside, beside = tmp_path / "wheels" / "tiny.whl", tmp_path / "wheels2" / "tiny.whl"
    listed = (str(tmp_path / "wheels"),)
    assert origin_allowed(str(inside), listed)
    assert origin_allowed(inside.as_uri(), listed)
    assert not origin_allowed(str(beside), listed)
    assert not origin_allowed(str(inside / ".." / ".." / "tiny.whl"), listed)
    assert not origin_allowed("https://mirror.example/tiny.whl", listed)


def test_a_public_index_is_known_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    address, host = (hashlib.sha256(text.encode()).hexdigest() for text in (INDEX, "files.example"))
    monkeypatch.setitem(PUBLIC, "Made up", PublicIndex(address, host, (host,)))
    policy = Policy(indexes=("Made up",))
    assert breaches_of(policy, package(index=f"{INDEX}/", wheels=[{"url": "https://files.example/tiny.whl"}])) == []
    assert breaches_of(policy, package(index=f"{INDEX}.evil/simple"))[0][0] == "indexes"
    assert breaches_of(policy, package(wheels=[{"url": "https://files.example.evil/tiny.whl"}]))[0][0] == "indexes"
    assert breaches_of(policy, package(wheels=[{"url": "http://files.example/tiny.whl"}]))[0][0] == "indexes"


def test_the_locks_of_the_checkout_come_from_the_index_that_the_policy_names(repository: Path) -> None:
    policy = Policy.read(repository / "envs" / "policy.toml")
    assert policy.indexes == ("PyPI",)
    assert breaches_of(policy, package())[0][0] == "indexes"


@pytest.mark.parametrize(
    ("constraint", "version", "meets"),
    [
        ("tiny>=1.0", "1.0", True),
        ("Tiny>=1.0", "1.1+cu128", True),
        ("tiny>=1.1", "1.0", False),
        ("tiny>=1.1", "1.1rc1", False),
        ("tiny>=1.0", "1.1rc1", True),
        ("other>=9", "1.0", True),
    ],
)
def test_every_lock_must_meet_the_constraints(constraint: str, version: str, *, meets: bool) -> None:
    found = breaches_of(Policy(constraints=(constraint,)), package(version=version))
    assert found == ([] if meets else [("constraints", f"tiny {version} does not meet {constraint}")])


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("constraints", '["tiny"]', "must be a name and versions"),
        ("constraints", '["-r other.txt"]', "is not a constraint"),
        ("constraints", '["tiny @ https://mirror.example/tiny.whl"]', "must be a name and versions"),
        ("indexes", '["PiPI"]', "must be the name of a public index"),
        ("platform", '"osx-64"', "linux-64"),
        ("profile", '"cpu"', "EGOWORLD_ENV_PROFILE"),
        ("index", "[]", "Extra inputs"),
    ],
)
def test_a_wrong_rule_is_named(tmp_path: Path, field: str, value: str, reason: str) -> None:
    (tmp_path / "policy.toml").write_text(f"{field} = {value}\n")
    with pytest.raises(BadDeclaration, match=rf"policy\.toml: {field}.*{reason}"):
        Policy.read(tmp_path / "policy.toml")


def test_a_cpu_build_is_refused_and_allowed_by_the_profile_only(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text('cuda = ["torch"]\nglibc = "2.31"\n[profiles.cpu]\ncuda = []\n')
    servers, machines = Policy.read(file), Policy.read(file, "cpu")
    (breach,) = servers.breaches([package("torch", "2.10.0+cpu")])
    assert breach.rule == "cuda"
    assert "EGOWORLD_ENV_PROFILE=cpu" in breach.fix
    assert breaches_of(machines, package("torch", "2.10.0+cpu")) == []
    assert (machines.profile, machines.glibc, servers.profile) == ("cpu", "2.31", "")
    with pytest.raises(LockRefused, match=r"env 'x': torch 2\.10\.0\+cpu is a CPU-only build"):
        servers.check("x", [package("torch", "2.10.0+cpu")])


def test_a_profile_that_is_not_there_or_wrong_is_named(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text("[profiles.cpu]\ncuda = []\n")
    with pytest.raises(BadDeclaration, match=r"has no 'gpu'; known: cpu"):
        Policy.read(file, "gpu")
    file.write_text("[profiles.cpu]\ncudas = []\n")
    with pytest.raises(BadDeclaration, match="cudas"):
        Policy.read(file)


@pytest.mark.parametrize(
    ("channels", "found"),
    [
        (("nvidia", "conda-forge"), []),
        (("conda-forge",), []),
        (("https://conda.example/nvidia/", "https://conda.example/conda-forge"), []),
        (("conda-forge", "nvidia"), ["conda channels are in the order conda-forge, nvidia"]),
        (("nvidia", "defaults"), ["conda channel defaults is not allowed"]),
    ],
)
def test_conda_channels_and_their_order(channels: tuple[str, ...], found: list[str]) -> None:
    policy = Policy(channels=("nvidia", "conda-forge"))
    assert [breach.found for breach in policy.channel_breaches(channels)] == found


def test_a_commit_of_git_must_be_whole() -> None:
    git = {"name": "tiny", "vcs": {"type": "git", "url": "https://git.example/tiny", "commit-id": "a" * 40}}
    assert breaches_of(Policy(), git) == []
    short = {**git, "vcs": {**git["vcs"], "commit-id": "a" * 12}}
    assert breaches_of(Policy(), short) == [("git", "tiny comes from https://git.example/tiny without a full commit")]
    assert breaches_of(Policy(), {**git, "vcs": {**git["vcs"], "type": "hg"}})[0][0] == "git"
