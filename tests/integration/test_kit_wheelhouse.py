"""Envs out of a folder of wheels: the lock names addresses that no machine has, and stays as it is."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from egoworld_resources.environments.building.builder import EnvBuilder
from egoworld_resources.environments.building.wheelhouse import localized, lock_here
from egoworld_resources.environments.checkout import KIT_WHEELS, checkout_wheels
from egoworld_resources.environments.errors import EnvBuildFailed, IndexUnreachable
from egoworld_resources.environments.locking.lockfile import Lock
from made_envs import made_catalog, made_env, made_lock, made_wheel, sealed

ADDRESS = "https://wheels.invalid/tiny-1.0-py3-none-any.whl"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An env whose lock names an address, its wheel in ``wheels``, and no network for uv."""
    monkeypatch.setenv("UV_OFFLINE", "1")
    made_env(tmp_path, "tiny_env")
    wheel = made_wheel(tmp_path / "wheels", "tiny", "1.0", {"tiny.py": "VERSION = 1\n"})
    lock = made_lock(tmp_path, "tiny_env", [wheel])
    lock.write_text(lock.read_text().replace(f'path = "{wheel}"', f'url = "{ADDRESS}"'))
    sealed(lock)
    assert ADDRESS in lock.read_text()
    return tmp_path


def builder(place: Path, uv: Path, wheels: Path | None) -> EnvBuilder:
    return EnvBuilder(place / "made", made_catalog(place), uv, place / "cache", wheels=wheels)


def test_an_env_is_built_from_the_folder(place: Path, uv: Path) -> None:
    before = (place / "locks" / "pylock.tiny_env.toml").read_bytes()
    with pytest.raises((IndexUnreachable, EnvBuildFailed)):
        builder(place, uv, None).ensure("tiny_env")
    built = builder(place, uv, place / "wheels").ensure("tiny_env")
    code = "import tiny; print(tiny.VERSION)"
    done = subprocess.run([built.python, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"
    assert built.lock_digest == made_catalog(place).lock_digest("tiny_env")
    assert builder(place, uv, None).built("tiny_env") == built, "an env is the same wherever its wheels came from"
    assert (place / "locks" / "pylock.tiny_env.toml").read_bytes() == before


def test_a_wheel_that_the_lock_does_not_mean_is_refused(place: Path, uv: Path) -> None:
    made_wheel(place / "wheels", "tiny", "1.0", {"tiny.py": "VERSION = 'other'\n"})
    with pytest.raises(EnvBuildFailed, match=r"(?i)hash mismatch"):
        builder(place, uv, place / "wheels").ensure("tiny_env")
    assert builder(place, uv, None).built("tiny_env") is None


def test_only_what_lies_there_gets_a_path(place: Path) -> None:
    lock = Lock.read("tiny_env", place / "locks" / "pylock.tiny_env.toml")
    assert localized(lock.entries, place / "nowhere", "w") == lock.entries
    (entry,) = localized(lock.entries, place / "wheels", "../wheels")
    (wheel,) = (place / "wheels").iterdir()
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    assert entry["wheels"] == [{"path": f"../wheels/{wheel.name}", "hashes": {"sha256": digest}}]
    with lock_here(lock, place / "wheels", {}) as copy:
        assert Lock.read("tiny_env", copy).digest == lock.digest
    assert not copy.exists()
    with lock_here(lock, None, {}) as same:
        assert same == lock.path


def test_the_folder_is_named_or_that_of_the_kit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert checkout_wheels(tmp_path) is None
    (tmp_path / KIT_WHEELS).mkdir(parents=True)
    assert checkout_wheels(tmp_path) == tmp_path / KIT_WHEELS
    monkeypatch.setenv("EGOWORLD_WHEELHOUSE", str(tmp_path / "mine"))
    assert checkout_wheels(tmp_path) == tmp_path / "mine"
    assert checkout_wheels(tmp_path, tmp_path / "given") == tmp_path / "given"
