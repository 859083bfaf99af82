"""envs/matrix.md: what it tells of a lock, and that a lock cannot change without it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from egoworld_resources.environments.catalog import Catalog
from egoworld_resources.environments.errors import BadDeclaration
from egoworld_resources.environments.locking.resolve import write_lock
from egoworld_resources.environments.policy.matrix import Change, matrix_breach, write_matrix
from egoworld_resources.environments.policy.rules import Policy
from made_envs import made_catalog, made_env

DAY, NEXT = dt.date(2026, 11, 21), dt.date(2026, 11, 22)
ANY, OLD, NEW = "py3-none-any", "cp311-cp311-manylinux2014_x86_64", "cp311-cp311-manylinux_2_28_x86_64"


def entry(name: str, version: str, *wheels: str, **more: Any) -> dict[str, Any]:
    files = [f"{name.replace('-', '_')}-{version}-{wheel}.whl" for wheel in wheels or (ANY,)]
    listed = [{"url": f"https://mirror.example/{file}", "hashes": {"sha256": "0" * 64}} for file in files]
    return {"name": name, "version": version, "wheels": listed, **more}


class Place:
    """A project whose envs are locked by hand."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.file = folder, folder / "envs" / "matrix.md"
        made_env(folder, "hands", stage="hand_poses")
        self.lock("hands", entry("numpy", "1.26.3", OLD), entry("six", "1.17.0"))

    @property
    def catalog(self) -> Catalog:
        return made_catalog(self.folder)

    def lock(self, env: str, *entries: dict[str, Any]) -> None:
        file = self.folder / "locks" / f"pylock.{env}.toml"
        source = self.catalog.lock_source(env)
        write_lock(file, list(entries), made_by="a test", python=">=3.11", source=source)

    def write(self, day: dt.date = DAY) -> list[Change]:
        return write_matrix(self.catalog, Policy(), self.file, day)

    def breach(self) -> str:
        breach = matrix_breach(self.catalog, Policy(), self.file)
        return f"{breach.rule}: {breach.found}; {breach.fix}" if breach else ""

    def row(self, env: str) -> list[str]:
        (line,) = (line for line in self.file.read_text().splitlines() if line.startswith(f"| {env} |"))
        return [cell.strip() for cell in line.strip("|").split("|")]

    def log(self) -> list[str]:
        return self.file.read_text().partition("## Changes")[2].splitlines()[4:]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_matrix_that_is_not_there_is_a_breach_until_it_is_written(place: Place) -> None:
    assert place.breach() == "matrix: missing; egoworld env matrix"
    assert [(change.env, change.what) for change in place.write()] == [("hands", "first lock: 2 packages")]
    assert place.breach() == ""
    assert place.log() == ["| 2026-11-21 | hands | hand_poses | first lock: 2 packages |"]


def test_nothing_is_written_when_nothing_changed(place: Place) -> None:
    place.write()
    before = place.file.stat()
    assert place.write(NEXT) == []
    after = place.file.stat()
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)


def test_a_lock_that_changed_without_it_is_a_breach_in_words(place: Place) -> None:
    place.write()
    place.lock("hands", entry("numpy", "1.26.4", OLD), entry("tqdm", "4.0"))
    words = "numpy 1.26.3 -> 1.26.4, tqdm 4.0 added, six 1.17.0 removed"
    assert place.breach() == f"matrix: locks changed without it (hands: {words}); egoworld env matrix"
    place.write(NEXT)
    assert place.breach() == ""
    assert place.log()[1:] == [f"| 2026-11-22 | hands | hand_poses | {words} |"]


def test_other_files_of_the_same_versions_are_a_change_too(place: Place) -> None:
    place.write()
    place.lock("hands", entry("numpy", "1.26.3", OLD, NEW), entry("six", "1.17.0"))
    (change,) = place.write(NEXT)
    assert change.what == "the same versions from other files, or under other markers"


def test_an_env_that_comes_and_one_that_goes(place: Place) -> None:
    place.write()
    made_env(place.folder, "cuts", stage="clips")
    place.lock("cuts", entry("six", "1.17.0"))
    assert [(change.env, change.what) for change in place.write(NEXT)] == [("cuts", "first lock: 1 packages")]
    (place.folder / "envs" / "cuts" / "pyproject.toml").unlink()
    assert [(change.env, change.what) for change in place.write(NEXT)] == [("cuts", "no longer locked")]
    assert place.breach() == ""


def test_a_row_says_what_the_lock_needs(place: Place) -> None:
    made_env(place.folder, "cuts", stage="clips", more="")
    place.lock(
        "cuts",
        entry("torch", "2.10.0", NEW, OLD),
        entry("av", "18.0", "cp311-abi3-manylinux_2_28_x86_64"),
        entry("nvidia-cuda-runtime-cu12", "12.8.90"),
        entry("nvidia-cudnn-cu12", "9.10.2.21"),
        entry("nvidia-nccl-cu12", "2.27.5"),
        entry("ninja", "1.13.0"),
    )
    place.write()
    assert place.row("cuts") == (
        ["cuts", ">=3.11", "525", "2.28 (av)", "12.8.90", "9.10.2.21", "2.27.5", "2.10.0", "–", "–", "1.13.0"]
    )
    assert place.row("hands") == ["hands", ">=3.11", "–", "2.17 (numpy)", "–", "–", "–", "–", "–", "–", "–"]


def test_a_source_to_be_built_needs_a_compiler(place: Place) -> None:
    pyproject = place.folder / "envs" / "hands" / "pyproject.toml"
    pyproject.write_text(pyproject.read_text().replace('interpreter = "env"', 'interpreter = "env"\nsdists = ["six"]'))
    place.lock("hands", entry("six", "1.17.0"))
    place.write()
    assert place.row("hands")[8] == "any, for six"


def test_a_cuda_of_unknown_driver_says_so(place: Place) -> None:
    place.lock("hands", entry("nvidia-cuda-runtime", "99.0.1"))
    place.write()
    assert place.row("hands")[2] == "– (not known for CUDA 99.0.1)"


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("| hands | >=3.11 | – |", "| hands | >=3.11 | 525 |", "its table is not what the locks give"),
        ("numpy 1.26.3", "numpy 1.26.2", "its table is not what the locks give"),
    ],
)
def test_what_was_edited_is_a_breach(place: Place, old: str, new: str, reason: str) -> None:
    place.write()
    place.file.write_text(place.file.read_text().replace(old, new))
    assert reason in place.breach()
    place.write(NEXT)
    assert place.breach() == ""


@pytest.mark.parametrize("line", ["<<<<<<< ours", "- `hands` zz: six 1", "| 2026-11-22 | hands |"])
def test_what_cannot_be_read_is_named(place: Place, line: str) -> None:
    place.write()
    text = place.file.read_text()
    at = "| 2026-11-21" if line.startswith("|") else "- `hands`"
    place.file.write_text(text.replace(at, f"{line}\n{at}"))
    with pytest.raises(BadDeclaration, match=r"matrix\.md: line: .* was not written by"):
        place.write()


def test_the_matrix_of_the_checkout_is_of_today(repository: Path, catalog: Catalog) -> None:
    policy = Policy.read(repository / "envs" / "policy.toml")
    assert matrix_breach(catalog, policy, repository / "envs" / "matrix.md") is None
