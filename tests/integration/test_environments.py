"""The env builder with the real uv: real installs, real kill -9, real damage."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from egoworld_resources.environments.building.builder import BuiltEnv, EnvBuilder
from egoworld_resources.environments.building.uv import Uv
from egoworld_resources.environments.catalog import BASE
from egoworld_resources.environments.errors import EnvBuildFailed, EnvDamaged, IndexUnreachable, LockRefused
from egoworld_resources.environments.locking.resolve import lock
from egoworld_resources.errors import EgoworldError
from made_envs import made_catalog, made_env, made_lock, made_wheel, sealed
from waiting import wait_for

BUILD = """
import sys
from dataclasses import replace
from pathlib import Path
from made_envs import made_catalog
from egoworld_resources.environments.building.builder import EnvBuilder
parent, uv = Path(sys.argv[1]), Path(sys.argv[2])
built = EnvBuilder(parent / "made", made_catalog(parent), uv, parent / "cache").ensure("tiny_env")
print(built.generation)
"""

SLOW_UV = """#!/bin/sh
case "$*" in *"pip sync"*) ;; *) exec {uv} "$@" ;; esac
if [ {when} = before ]; then echo $$ > {mark}; sleep 1; fi
{uv} "$@" || exit
if [ {when} = after ]; then echo $$ > {mark}; sleep 1; fi
touch {ended}
"""


class Place:
    """A folder with one env, its lock of one wheel, its own uv cache, and where it is built."""

    def __init__(self, folder: Path, uv: Path) -> None:
        self.folder, self.uv = folder, uv
        made_env(folder, "tiny_env")
        self.install("1.0", "VERSION = 1\n")

    def install(self, version: str, source: str) -> None:
        """Lock a wheel ``tiny`` of this version."""
        made_lock(self.folder, "tiny_env", [made_wheel(self.folder / "wheels", "tiny", version, {"tiny.py": source})])

    def builder(self, uv: Path | None = None) -> EnvBuilder:
        folder = self.folder
        return EnvBuilder(folder / "made", made_catalog(folder), uv or self.uv, folder / "cache", grace_s=0)

    def process(self, uv: Path | None = None) -> subprocess.Popen[str]:
        """Another process that builds the env."""
        program = [sys.executable, "-c", BUILD, str(self.folder), str(uv or self.uv)]
        path = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
        return subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=path)

    def generations(self) -> list[str]:
        return sorted(entry.name for entry in (self.folder / "made" / "tiny_env").iterdir() if not entry.is_symlink())


@pytest.fixture
def place(tmp_path: Path, uv: Path) -> Place:
    return Place(tmp_path, uv)


def version_in(env: BuiltEnv) -> str:
    """What the env's own interpreter imports."""
    program = [env.python, "-I", "-c", "import tiny; print(tiny.VERSION)"]
    return subprocess.run(program, capture_output=True, text=True, check=True).stdout.strip()


def test_an_env_is_made_from_its_lock_and_kept(place: Place) -> None:
    builder = place.builder()
    assert builder.built("tiny_env") is None
    built = builder.ensure("tiny_env")
    assert version_in(built) == "1"
    assert built.lock_digest == made_catalog(place.folder).lock_digest("tiny_env")
    assert builder.ensure("tiny_env") == built
    assert builder.verify("tiny_env") > 0
    assert built.python.is_relative_to(place.folder / "made" / "tiny_env" / built.generation)


def test_the_runner_contract_is_on_the_path(place: Place) -> None:
    built = place.builder().ensure("tiny_env")
    program = "import importlib.util; print(importlib.util.find_spec('egoworld_runner').origin)"
    found = subprocess.run([built.python, "-I", "-c", program], capture_output=True, text=True, check=True, cwd="/")
    assert Path(found.stdout.strip()).parent.name == "egoworld_runner"


def test_base_is_our_own_interpreter(builder: EnvBuilder) -> None:
    built = builder.ensure(BASE)
    assert (built.python, built.generation) == (Path(sys.executable), BASE)


def test_envs_that_share_an_interpreter_are_built_once(place: Place) -> None:
    made_env(place.folder, "shares", interpreter="tiny_env", stage="masks")
    shared, built = place.builder().ensure("shares"), place.builder().ensure("tiny_env")
    assert (shared.name, replace(shared, name="tiny_env")) == ("shares", built)
    assert place.generations() == [built.generation]
    assert not (place.folder / "made" / "shares").exists()
    file = built.site_packages / "tiny.py"
    file.chmod(0o644)
    file.write_text("VERSION = 666\n")
    with pytest.raises(EnvDamaged, match=r"tiny\.py"):
        place.builder().verify("shares")


def test_a_new_lock_makes_a_new_generation_beside_the_old(place: Place) -> None:
    first = place.builder().ensure("tiny_env")
    place.install("2.0", "VERSION = 2\n")
    second = place.builder().ensure("tiny_env")
    assert (version_in(first), version_in(second)) == ("1", "2")
    assert (place.folder / "made" / "tiny_env" / "current").resolve() == second.python.parents[1]
    assert place.builder().collect("tiny_env") == [first.generation]
    assert place.generations() == [second.generation]


def test_console_scripts_survive(place: Place) -> None:
    built = place.builder().ensure("tiny_env")
    moved = built.python.parents[1].rename(place.folder / "moved")
    program = "import sys, tiny; print(sys.prefix)"
    done = subprocess.run([moved / "bin" / "python", "-I", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(moved)


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_in_the_middle_nothing_is_taken_for_whole(place: Place, when: str) -> None:
    mark, ended = place.folder / "mark", place.folder / "ended"
    slow = place.folder / "slow_uv"
    slow.write_text(SLOW_UV.format(uv=place.uv, when=when, mark=mark, ended=ended))
    slow.chmod(0o755)
    with place.process(slow) as running:
        wait_for(mark.exists)
        running.send_signal(signal.SIGKILL)
    assert place.generations() == []
    assert place.builder().built("tiny_env") is None
    built = place.builder().ensure("tiny_env")
    assert ended.exists(), "the uv that outlived its builder must end before another builder starts"
    assert place.generations() == [built.generation]
    assert not [left for left in (place.folder / "made" / ".making").iterdir() if left.name.isdigit()]
    assert version_in(built) == "1"
    assert place.builder().verify("tiny_env") > 0


@pytest.mark.parametrize(
    "moment",
    [".making", ".making/[0-9]/bin/python", ".making/[0-9]/lib/python3*/site-packages/tiny*", "tiny_env/*/ready.json"],
)
def test_killed_at_any_moment_the_next_build_is_whole(place: Place, moment: str) -> None:
    with place.process() as running:
        wait_for(lambda: any((place.folder / "made").glob(moment)) or running.poll() is not None)
        running.kill()
    built = place.builder().ensure("tiny_env")
    assert version_in(built) == "1"
    assert place.builder().verify("tiny_env") > 0
    place.builder().collect("tiny_env")
    assert place.generations() == [built.generation]


def test_builders_at_once_make_one_generation(place: Place) -> None:
    running = [place.process() for _ in range(4)]
    outputs = [process.communicate(timeout=120) for process in running]
    assert [process.returncode for process in running] == [0, 0, 0, 0], outputs
    assert len({out for out, _ in outputs}) == 1
    assert len(place.generations()) == 1


def test_files_are_shared_with_the_cache_and_read_only(place: Place) -> None:
    built = place.builder().ensure("tiny_env")
    file = built.site_packages / "tiny.py"
    assert file.stat().st_nlink > 1
    assert stat.S_IMODE(file.stat().st_mode) & 0o222 == 0


def test_a_write_into_an_env_is_found_and_does_not_reach_the_next(place: Place) -> None:
    built = place.builder().ensure("tiny_env")
    file = built.site_packages / "tiny.py"
    file.chmod(0o644)
    file.write_text("VERSION = 666\n")  # in place: the hardlinked file of the cache is altered too
    with pytest.raises(EnvDamaged, match=r"tiny\.py"):
        place.builder().verify("tiny_env")
    replaced = place.builder().ensure("tiny_env")
    assert replaced.generation != built.generation
    assert version_in(replaced) == "1"
    assert place.builder().verify("tiny_env") > 0


def test_a_hidden_write_is_mended_by_the_command_that_verify_names(place: Place) -> None:
    built = place.builder().ensure("tiny_env")
    file = built.site_packages / "tiny.py"
    before = file.stat()
    file.chmod(0o644)
    file.write_text("VERSION = 9\n")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))  # size and time as before
    with pytest.raises(EnvDamaged, match="build --fresh tiny_env"):
        place.builder().verify("tiny_env")
    assert version_in(place.builder().ensure("tiny_env", fresh=True)) == "1"
    assert place.builder().verify("tiny_env") > 0


@pytest.mark.parametrize("lost", ["lib/python3*/site-packages/tiny.py", "bin/python", "ready.json"])
def test_a_broken_generation_is_replaced(place: Place, lost: str) -> None:
    built = place.builder().ensure("tiny_env")
    generation = built.python.parents[1]
    next(generation.glob(lost)).unlink()
    replaced = place.builder().ensure("tiny_env")
    assert replaced.generation != built.generation
    assert version_in(replaced) == "1"


def test_packages_that_cannot_be_fetched_may_be_tried_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    file = place.folder / "locks" / "pylock.tiny_env.toml"
    wheel = place.folder / "wheels" / "tiny-1.0-py3-none-any.whl"
    file.write_text(file.read_text().replace(f'path = "{wheel}"', f'url = "https://files.example/{wheel.name}"'))
    sealed(file)
    monkeypatch.setenv("UV_OFFLINE", "1")
    with pytest.raises(IndexUnreachable, match=r"(?s)not in the cache .* uv says:.*tiny"):
        place.builder().ensure("tiny_env")


def test_a_wrong_hash_is_refused_in_uvs_own_words(place: Place) -> None:
    file = place.folder / "locks" / "pylock.tiny_env.toml"
    wheel = made_wheel(place.folder / "wheels", "tiny", "1.0", {"tiny.py": "VERSION = 'evil'\n"})
    assert wheel.name in file.read_text()
    with pytest.raises(EnvBuildFailed, match=r"(?s)building env 'tiny_env' from .*[Hh]ash mismatch"):
        place.builder().ensure("tiny_env")
    assert place.builder().built("tiny_env") is None


def test_a_failed_build_leaves_the_old_generation_live(place: Place) -> None:
    first = place.builder().ensure("tiny_env")
    with pytest.raises(EgoworldError):
        place.builder(place.folder / "no_uv_here").ensure("tiny_env", fresh=True)
    assert place.builder().ensure("tiny_env") == first


def test_a_python_that_is_not_there_is_said(tmp_path: Path, uv: Path) -> None:
    made_env(tmp_path, "tiny_env", python=">=3.13,<3.13.1")
    made_lock(tmp_path, "tiny_env", [])
    builder = EnvBuilder(tmp_path / "made", made_catalog(tmp_path), uv, tmp_path / "cache")
    with pytest.raises(EnvBuildFailed, match=r"'tiny_env' needs Python >=3\.13,<3\.13\.1"):
        builder.ensure("tiny_env")


def test_a_cache_on_another_partition_is_said(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    other = Path("/dev/shm")
    if not other.is_dir() or other.stat().st_dev == place.folder.stat().st_dev:
        pytest.skip("no second partition at /dev/shm")
    cache = other / f"egoworld-test-{os.getpid()}"
    builder = EnvBuilder(place.folder / "made", made_catalog(place.folder), place.uv, cache)
    try:
        with caplog.at_level(logging.WARNING):
            built = builder.ensure("tiny_env")
        assert "different partitions" in caplog.text
        assert version_in(built) == "1"
    finally:
        shutil.rmtree(cache)


def test_locking_is_stable_and_its_env_is_built_again_without_a_network(
    tmp_path: Path, uv: Path, uv_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_env(tmp_path, "real", dependencies=("six==1.17.0",))
    program = Uv(uv, uv_cache)
    (file,) = lock("real", made_catalog(tmp_path), program)
    text = file.read_text()
    assert made_catalog(tmp_path).packages("real")["six"] == "1.17.0"
    assert {"numpy", "pyarrow", "av"} <= set(made_catalog(tmp_path).packages("real")), "the runner contract's needs"
    assert "musllinux" not in text
    assert "macosx" not in text
    assert "sdist" not in text
    lock("real", made_catalog(tmp_path), program)
    assert file.read_text() == text
    builder = EnvBuilder(tmp_path / "made", made_catalog(tmp_path), uv, uv_cache)
    first = builder.ensure("real")
    monkeypatch.setenv("UV_OFFLINE", "1")
    again = builder.ensure("real", fresh=True)
    assert again.generation != first.generation
    code = "import six, egoworld_runner; print(six.__version__)"
    done = subprocess.run([again.python, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1.17.0"


def test_what_cannot_be_resolved_is_said_in_uvs_words_and_the_old_lock_stays(
    tmp_path: Path, uv: Path, uv_cache: Path
) -> None:
    folder = made_env(tmp_path, "clash", dependencies=("six==1.17.0",))
    program = Uv(uv, uv_cache)
    (file,) = lock("clash", made_catalog(tmp_path), program)
    before = file.read_text()
    (folder / "pyproject.toml").write_text(
        (folder / "pyproject.toml").read_text().replace('"six==1.17.0"', '"six==1.17.0", "six==1.16.0"')
    )
    with pytest.raises(LockRefused, match=r"(?s)locking env 'clash'.*unsatisfiable"):
        lock("clash", made_catalog(tmp_path), program)
    assert file.read_text() == before


def test_a_cpu_only_torch_in_a_folder_of_wheels_is_not_locked(
    tmp_path: Path, uv: Path, uv_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_wheel(tmp_path / "wheels", "torch", "99.0+cpu", {"torch.py": ""})
    made_env(tmp_path, "cpu_torch", dependencies=("torch>=99",))
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path / "wheels"))
    with pytest.raises(LockRefused, match=r"torch 99\.0\+cpu is a CPU-only build"):
        lock("cpu_torch", made_catalog(tmp_path), Uv(uv, uv_cache))
    assert not (tmp_path / "locks").exists()
