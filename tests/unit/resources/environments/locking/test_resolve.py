"""What of a resolved lock is kept, and what the policy refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from egoworld_resources.environments.building.uv import Uv
from egoworld_resources.environments.errors import BadDeclaration, LockRefused
from egoworld_resources.environments.locking.resolve import linux_entries, lock
from egoworld_resources.environments.policy.rules import Policy
from made_envs import made_catalog, made_env

WHEELS = [
    "tiny-1.0-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
    "tiny-1.0-cp311-cp311-manylinux_2_28_x86_64.whl",
    "tiny-1.0-cp39-abi3-manylinux_2_28_x86_64.whl",
    "tiny-1.0-py3-none-any.whl",
    "tiny-1.0-cp311-cp311-manylinux_2_39_x86_64.whl",
    "tiny-1.0-cp311-cp311-musllinux_1_2_x86_64.whl",
    "tiny-1.0-cp311-cp311-manylinux_2_28_aarch64.whl",
    "tiny-1.0-cp311-cp311-win_amd64.whl",
    "tiny-1.0-cp310-cp310-manylinux_2_28_x86_64.whl",
    "tiny-1.0-cp312-cp312-manylinux_2_28_x86_64.whl",
    "tiny-1.0-cp313-cp313t-manylinux_2_28_x86_64.whl",
]


def entry(*wheels: str, **more: Any) -> dict[str, Any]:
    files = [{"url": f"https://files.example/{wheel}", "hashes": {"sha256": "0" * 64}} for wheel in wheels]
    sdist = {"url": "https://files.example/tiny-1.0.tar.gz", "hashes": {"sha256": "1" * 64}}
    return {"name": "tiny", "version": "1.0", "sdist": sdist, "wheels": files, **more}


def kept(entries: list[dict[str, Any]], python: str = ">=3.11,<3.12", **more: Any) -> list[dict[str, Any]]:
    return linux_entries("made_up", entries, python=python, policy=Policy(glibc="2.36"), **more)


@pytest.mark.parametrize(
    ("whose", "says"), [("base", "our own interpreter"), ("vision", "the interpreter of 'vision'")]
)
def test_an_env_without_a_lock_of_its_own_says_which_one_to_make(tmp_path: Path, whose: str, says: str) -> None:
    made_env(tmp_path, "vision")
    made_env(tmp_path, "boxes", interpreter=whose, stage="detections")
    with pytest.raises(LockRefused, match=rf"'boxes' runs in {says}; lock that with: make lock ENV={whose}"):
        lock("boxes", made_catalog(tmp_path), Uv(tmp_path / "no uv", tmp_path))


def test_only_wheels_that_linux_can_load_are_kept() -> None:
    (found,) = kept([entry(*WHEELS)])
    assert [file["url"].rpartition("/")[2] for file in found["wheels"]] == WHEELS[:4]
    assert "sdist" not in found


def test_another_python_keeps_its_own_wheels() -> None:
    (found,) = kept([entry(*WHEELS)], python=">=3.12,<3.13")
    names = [file["url"].rpartition("/")[2] for file in found["wheels"]]
    assert names == [WHEELS[2], WHEELS[3], WHEELS[9]]


def test_a_package_without_a_wheel_is_refused_unless_listed() -> None:
    with pytest.raises(LockRefused, match=r"'made_up': tiny 1\.0 has no wheel for linux x86_64 .* sdists"):
        kept([entry()])
    (found,) = kept([entry()], sdists=("Tiny",))
    assert "wheels" not in found
    assert found["sdist"]["hashes"] == {"sha256": "1" * 64}


def test_packages_of_other_platforms_are_left_out_and_markers_that_always_hold_too() -> None:
    any_wheel = WHEELS[3]
    found = kept(
        [
            entry(any_wheel, marker="sys_platform == 'win32'"),
            entry(any_wheel, marker="sys_platform == 'linux' and python_version >= '3.10'"),
        ]
    )
    assert [("marker" in item) for item in found] == [False]


def test_a_marker_that_holds_on_one_python_only_is_kept() -> None:
    marker = "python_full_version < '3.12'"
    (found,) = kept([entry(WHEELS[3], marker=marker)], python=">=3.11")
    assert found["marker"] == marker


def test_the_index_is_named() -> None:
    (found,) = kept([entry(WHEELS[3])], indexes={"tiny": "https://index.example/simple"})
    assert found["index"] == "https://index.example/simple"


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ([{"name": "torch", "version": "2.10.0+cpu"}], "torch 2.10.0+cpu is a CPU-only build"),
        ([{"name": "torch", "version": "2.10.0"}], "torch 2.10.0 is a CPU-only build"),
        ([{"name": "torch", "version": "2.10.0+cpu"}, {"name": "nvidia-cublas-cu12"}], "CPU-only"),
        ([{"name": "tiny", "directory": {"path": "../tiny"}}], "tiny comes from a folder"),
        ([{"name": "tiny", "archive": {"url": "x.zip"}}], "tiny comes from an archive"),
        ([{"name": "tiny", "vcs": {"url": "git", "commit-id": "abc123"}}], "without a full commit"),
    ],
)
def test_the_policy_refuses(entries: list[dict[str, Any]], reason: str) -> None:
    with pytest.raises(LockRefused, match=reason.replace("+", r"\+").replace(".", r"\.")):
        Policy().check("made_up", entries)


@pytest.mark.parametrize(
    "entries",
    [
        [{"name": "torch", "version": "2.10.0+cu128"}],
        [{"name": "torch", "version": "2.10.0"}, {"name": "nvidia-cublas-cu12", "version": "1"}],
        [{"name": "tiny", "vcs": {"url": "git", "commit-id": "a" * 40}}],
        [{"name": "six", "version": "1.17.0+cpu"}],
    ],
)
def test_the_policy_allows(entries: list[dict[str, Any]]) -> None:
    Policy().check("made_up", entries)


def test_the_policy_of_the_checkout_is_read(repository: Path) -> None:
    assert "torch" in Policy.read(repository / "envs" / "policy.toml").cuda


def test_a_wrong_policy_names_file_and_field(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text("glibc = 2.36\n")
    with pytest.raises(BadDeclaration, match=r"policy\.toml: glibc: "):
        Policy.read(tmp_path / "policy.toml")
