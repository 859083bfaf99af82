"""Faults of the machine, of an env or of ours, made for real: none is held against a video, all end by themselves."""

from __future__ import annotations

import dataclasses
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from egoworld_assets.orchestration.registry import stages
from egoworld_assets.orchestration.walk import WAITS
from egoworld_resources.artifacts.manifest import Manifest, Verdict
from egoworld_resources.artifacts.stage import Draft
from egoworld_resources.artifacts.staleness import fingerprint
from egoworld_resources.errors import DiskFull
from egoworld_resources.faults.waits import in_words
from egoworld_resources.making.waiting import work_at
from egoworld_resources.store.folder import FolderStore
from tests.made_faults import (
    STAGE,
    Site,
    away,
    disk_full,
    outer_environment,
    own_file_system,
    prepared_store,
    rewritten,
)
from tests.made_up import video

pytestmark = pytest.mark.xdist_group("machine-faults")
CRASH = "import os, signal\n\nfrom egoworld_runner import Runner, tables"
Fault = Callable[[Site], AbstractContextManager[None]]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared_store(tmp_path_factory.mktemp("template"))


@pytest.fixture
def site(template: Path, tmp_path: Path) -> Iterator[Site]:
    with outer_environment():
        yield Site(tmp_path, template, settle_s=0.0)


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


def deadly_at(site: Site, video: str) -> str:
    """The runner, which dies at the clips of one video."""
    return at_every_clip(site, f"clip.video == {video!r} and os.kill(os.getpid(), signal.SIGSEGV)")


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
        [wait] = site.waits()
        assert title in wait["cause"]
        assert (wait["videos"], wait["do"] != "") == (2, True)
        assert any(words in said_in_words(site) for words in ("next try", "tried as soon"))
    assert site.condemned() == []
    site.recover()
    assert site.conditions() == {"fresh"}
    assert site.condemned() == []
    assert site.waits() == []


def said_in_words(site: Site) -> str:
    """What the sensor says in the UI when it asks for nothing."""
    return "; ".join(in_words(one) for one in site.bench().waits.waiting())


def raising(_draft: Draft) -> Verdict:
    """A check with a defect."""
    raise ZeroDivisionError("division by zero")


def test_a_check_that_raises(site: Site) -> None:
    """A check of ours ends with an exception: no video is quarantined for it."""
    key = site.keys[0]
    strict = dataclasses.replace(stages()[STAGE], checks=(raising,))
    [outcome] = site.bench().make(strict, [key], "run")
    assert outcome.cause
    assert outcome.cause.title == f"the check raising of {STAGE} ends with an exception"
    assert site.condemned() == []
    site.recover()
    assert site.bench().state(stages()[STAGE], key).condition == "fresh"
    assert (site.condemned(), site.waits()) == ([], [])


class Defective(FolderStore):
    """A store with a defect of ours."""

    def put(self, staged: Path, manifest: Manifest) -> Path:
        raise TypeError("unsupported operand")


def test_a_defect_of_our_own_code(site: Site) -> None:
    """Our own code raises while it publishes: the run says so, the video waits and is made after the next release."""
    key = site.keys[0]
    result = site.run(key, store=Defective(site.home / "store"))
    assert not result.success
    [wait] = site.waits()
    assert wait["cause"] == f"{STAGE} ends with TypeError"
    site.recover()
    assert site.bench().state(stages()[STAGE], key).condition == "fresh"
    assert (site.condemned(), site.waits()) == ([], [])


def test_one_trial_for_many(site: Site) -> None:
    """Two hundred videos wait for one cause: one of them tries, and none of the others starts anything."""
    bench = site.bench()
    with weights_removed(site):
        site.run(site.keys[0])
        many = [f"made-up-{number:08x}" for number in range(200)]
        cause = bench.waits.waiting()[0].cause
        bench.waits.join(cause, work_at(bench, stages()[STAGE]), many)
        [wait] = site.waits()
        assert wait["videos"] == 201
        time.sleep(0.1)
        assert len(site.asked()) == 1
        assert [request.run_key for request in site.asked()] == [request.run_key for request in site.asked()]


def test_what_is_known_is_not_tried(site: Site) -> None:
    """A cause that was met a moment ago: the next video does not load the model to meet it again."""
    site.clock(600.0)
    with weights_removed(site):
        site.run(site.keys[0])
    result = site.run(site.keys[1])
    assert not result.success, "the weights are back, but it is not yet time"
    [wait] = site.waits()
    assert (wait["videos"], wait["tries"]) == (2, 1)
    assert site.asked() == []
    site.bench().waits.try_now()  # as `egoworld refresh` does
    site.recover()
    assert site.conditions() == {"fresh"}, "a person asks, and it is tried at once"


def test_a_clip_that_is_to_blame(site: Site) -> None:
    """One video kills its runner and another gets through before: this one is the video's own fault, and recorded."""
    good, bad = site.keys
    assert site.run(good).success
    with rewritten(site.installed.runner, deadly_at(site, bad)):
        assert site.run(good).success
        assert not site.run(bad).success
        assert site.bench().state(stages()[STAGE], bad).condition == "failed"
    assert site.condemned() == [f"failures/{STAGE}/{bad}"]
    assert site.waits() == []


def test_a_deadly_video_that_came_first(site: Site) -> None:
    """The first video ever kills its runner, so that the machine is suspected: the next one is not kept behind it."""
    bad, good = site.keys
    with rewritten(site.installed.runner, deadly_at(site, bad)):
        site.clock(600.0)
        assert not site.run(bad).success
        assert not site.run(good).success, "nothing has got through yet, so it waits"
        assert site.condemned() == []
        site.clock(0.01)
        site.recover()
        assert site.bench().state(stages()[STAGE], good).condition == "fresh"
        assert site.bench().state(stages()[STAGE], bad).condition == "failed"
    assert site.waits() == []


def test_failures_of_an_older_version(site: Site) -> None:
    """A failure that an older version recorded for a machine without a GPU no longer counts; that of a video stays."""
    bench, stage, (first, second) = site.bench(), stages()[STAGE], site.keys
    for key, kind in ((first, "NoGpu"), (second, "Terminal")):
        print_now = fingerprint(bench.recipe(stage), bench.state(stage, key).inputs)
        bench.store.record(
            "failures", f"{STAGE}/{key}", {"reason": "as it was", "kind": kind, "fingerprint": print_now}
        )
    assert [site.bench().state(stage, key).condition for key in (first, second)] == ["missing", "failed"]
    output = site.command("refresh", "--retry-failed", "--stage", STAGE, "--plan")
    assert f"asked again: 1 that failed (1 at {STAGE})" in output
    assert "failed: as it was" in output
    assert first not in output, "what failed for this machine's sake is missing, not failed"
    assert "nothing failed" in site.command("refresh", "--retry-failed", "--plan", first)
    assert site.command("refresh", "--plan", second).count("failed: as it was") == 0


def test_the_inbox_meets_a_full_disk(site: Site) -> None:
    """The disk is full when a video arrives: the tick fails, it is said once, and a later tick takes the video."""
    inbox = site.home / "inbox"
    inbox.mkdir()
    video(inbox / "late.mp4", shots=(9,), size=(32, 32))
    before = set(site.keys)
    with store_full(site):
        for _ in range(2):
            with pytest.raises(DiskFull, match="free some"):
                site.look("inbox")
        [wait] = site.waits()
        assert (wait["cause"].startswith("no space left on"), wait["stages"]) == (True, {"inbox": 0})
        assert "df -h" in wait["do"]
        assert site.command("status").count("the inbox waits since") == 1
        ticked = site.look("waiting")
        assert (ticked.run_requests, ticked.skip_message.count("the inbox waits since")) == ([], 1)
    assert (set(site.keys), site.condemned()) == (before, [])
    [request] = site.look("inbox").run_requests
    assert set(site.keys) - before == {request.partition_key}
    assert (site.condemned(), site.waits()) == ([], [])
