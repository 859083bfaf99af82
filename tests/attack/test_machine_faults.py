"""Faults of the machine, of an env or of ours, made for real: none is held against a video, all end by themselves."""

from __future__ import annotations

import fcntl
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from egoworld_assets.partitions import WAITS
from egoworld_resources.waits import in_words
from tests.made_faults import Site, away, rewritten

pytestmark = pytest.mark.xdist_group("machine-faults")
CRASH = "import os, signal\n\nfrom egoworld_runner import Runner, tables"
Fault = Callable[[Site], AbstractContextManager[None]]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with two videos whose hands are to be found next."""
    with environment():
        site = Site(tmp_path_factory.mktemp("template"))
        site.prepare(2)
        return site.home / "store"


@contextmanager
def environment() -> Iterator[None]:
    """The environment as it was, afterwards."""
    before = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture
def site(template: Path, tmp_path: Path) -> Iterator[Site]:
    with environment():
        yield Site(tmp_path, template)


@contextmanager
def weights_removed(site: Site) -> Iterator[None]:
    with away(site.weights):
        yield


@contextmanager
def a_byte_of_the_weights_flipped(site: Site) -> Iterator[None]:
    with rewritten(site.weights, "Weights of a model"):
        yield


@contextmanager
def runner_file_missing(site: Site) -> Iterator[None]:
    with away(site.installed.runner):
        yield


@contextmanager
def runner_cannot_be_imported(site: Site) -> Iterator[None]:
    text = "import a_library_that_is_not_there\n" + site.installed.runner.read_text()
    with rewritten(site.installed.runner, text):
        yield


@contextmanager
def runner_dies_at_every_clip(site: Site) -> Iterator[None]:
    with rewritten(site.installed.runner, at_every_clip(site, "os.kill(os.getpid(), signal.SIGSEGV)")):
        yield


@contextmanager
def driver_fails_at_every_clip(site: Site) -> Iterator[None]:
    with rewritten(site.installed.runner, at_every_clip(site, "raise RuntimeError('CUDA error: unknown error')")):
        yield


def at_every_clip(site: Site, what: str) -> str:
    """The runner with a first line in what it does with every clip."""
    text = site.installed.runner.read_text().replace("from egoworld_runner import Runner, tables", CRASH)
    return text.replace(
        "    def run(self, clip, inputs, params):\n", f"    def run(self, clip, inputs, params):\n        {what}\n", 1
    )


@contextmanager
def declaration_broken(site: Site) -> Iterator[None]:
    with rewritten(site.pyproject, "[project\nthis is no TOML"):
        yield


@contextmanager
def no_gpu(site: Site) -> Iterator[None]:
    on_gpu = site.pyproject.read_text().replace('device = "cpu"', 'device = "cuda"', 1)
    with rewritten(site.pyproject, on_gpu):
        yield


@contextmanager
def disk_full(folder: Path) -> Iterator[None]:
    """A file system of its own at a folder, with all of its space taken."""
    with own_file_system(folder, "size=3m"), (folder / "ballast").open("wb", buffering=0) as ballast:
        fcntl.flock(ballast, fcntl.LOCK_EX)  # what nobody holds in a scratch folder is swept away
        with suppress(OSError):
            while True:
                ballast.write(b"x" * 4096)
        yield
        Path(ballast.name).unlink()


@contextmanager
def own_file_system(folder: Path, options: str) -> Iterator[None]:
    """A tmpfs at a folder with what was in it; what is in it at the end stays there."""
    if os.geteuid() != 0:
        pytest.skip("only root mounts a file system")
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder.with_name(f"{folder.name}.kept")
    subprocess.run(["cp", "-a", f"{folder}/.", kept], check=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"this kernel lets us mount nothing: {mounted.stderr.decode().strip()}")
    try:
        subprocess.run(["cp", "-a", f"{kept}/.", folder], check=True)
        yield
        subprocess.run(["mount", "-o", "remount,rw", folder], check=True)
        subprocess.run(["cp", "-a", f"{folder}/.", kept], check=True)
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
        subprocess.run(["cp", "-a", f"{kept}/.", folder], check=True)


@contextmanager
def scratch_full(site: Site) -> Iterator[None]:
    with disk_full(site.home / "scratch"):
        yield


@contextmanager
def store_full(site: Site) -> Iterator[None]:
    with disk_full(site.home / "store"):
        yield


@contextmanager
def store_read_only(site: Site) -> Iterator[None]:
    with own_file_system(site.home / "store", "size=8m"):
        subprocess.run(["mount", "-o", "remount,ro", site.home / "store"], check=True)
        yield


@contextmanager
def killed_by_a_stranger(site: Site) -> Iterator[None]:
    """Somebody ends every runner with kill -9 as soon as it is at work."""
    slow = at_every_clip(site, "import time; time.sleep(0.5)")
    done = threading.Event()
    killer = threading.Thread(target=kill_runners, args=(site, done))
    with rewritten(site.installed.runner, slow):
        killer.start()
        try:
            yield
        finally:
            done.set()
            killer.join()


def kill_runners(site: Site, done: threading.Event) -> None:
    """kill -9 for each runner whose clip has begun."""
    while not done.is_set():
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                line = process.cmdline()
                is_runner = "egoworld_runner" in line and not any(word.endswith("keeper.py") for word in line)
                if is_runner and list(site.home.glob("scratch/*/videos/*/.*.partial")):
                    process.kill()
        time.sleep(0.02)


FAULTS: tuple[tuple[Fault, str], ...] = (
    (weights_removed, "weights of env 'quick'"),
    (a_byte_of_the_weights_flipped, "weights of env 'quick'"),
    (runner_file_missing, "env 'quick' cannot be used"),
    (runner_cannot_be_imported, "the runner of hand_poses"),
    (runner_dies_at_every_clip, "the runner of hand_poses"),
    (driver_fails_at_every_clip, "the runner of hand_poses"),
    (declaration_broken, "env 'quick' cannot be used"),
    (no_gpu, "no GPU"),
    (scratch_full, "no space left on"),
    (store_full, "no space left on"),
    (store_read_only, "Read-only file system"),
    (killed_by_a_stranger, "the runner of hand_poses"),
)


@pytest.mark.parametrize(("fault", "title"), FAULTS, ids=[fault.__name__.replace("_", " ") for fault, _ in FAULTS])
def test_a_fault_of_the_machine(site: Site, fault: Fault, title: str) -> None:
    """A fault meets two videos: each waits, it is said once, and both are made by themselves when it is gone."""
    with fault(site):
        for key in site.keys:
            result = site.run(key)
            assert not result.success, "a run that waits is no success"
            run = site.instance.get_run_by_id(result.run_id)
            assert run
            assert WAITS in run.tags
        [said] = site.waits()
        assert title in said["cause"]
        assert (said["videos"], said["do"] != "") == (2, True)
        assert "next try" in said_in_words(site)
    assert site.condemned() == []
    site.recover()
    assert site.conditions() == {"fresh"}
    assert site.condemned() == []
    assert site.waits() == []


def said_in_words(site: Site) -> str:
    """What the sensor says in the UI when it asks for nothing."""
    return "; ".join(in_words(one) for one in site.bench().waits.waiting())
