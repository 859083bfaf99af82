"""Memory runs out under a model, for real: the kernel refuses more, or kills the runner."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from egoworld_assets.orchestration.registry import stages
from egoworld_resources.running.process import kills_for_memory
from egoworld_resources.sandbox.groups import Group, make, new_name
from egoworld_resources.sandbox.means import MEMORY_GROUP
from tests.made_faults import STAGE, Site, outer_environment, prepared_store

LITTLE_GB, MUCH_GB = 0.4, 4.0
"""What a runner may have: less, and more, than BYTES."""
BYTES = 600 << 20
OWN = f"kept = bytearray({BYTES})"
SHARED = f"import mmap; kept = mmap.mmap(-1, {BYTES}); [kept.__setitem__(at, 1) for at in range(0, {BYTES}, 4096)]"
"""Memory that only a control group counts: so much of it ends in a kill."""
LEFT = f"clip.__class__.left = [*getattr(clip.__class__, 'left', []), bytearray({BYTES // 3})]"
"""A model that keeps something of every clip: two of them are too many."""
KINDS = {"its own, which the kernel refuses": OWN, "shared, for which the kernel kills": SHARED}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared_store(tmp_path_factory.mktemp("template"))


@pytest.fixture
def site(template: Path, tmp_path: Path) -> Iterator[Site]:
    with outer_environment():
        yield Site(tmp_path, template, memory_gb=LITTLE_GB)


def takes(site: Site, what: str, video: str = "") -> None:
    """Let the model take memory at each clip, or at those of one video."""
    text = site.installed.runner.read_text()
    begin = "    def run(self, clip, inputs, params):\n"
    body = f"        if clip.video.startswith({video!r}):\n            {what}\n"
    site.installed.runner.write_text(text.replace(begin, begin + body, 1))


def allow(site: Site, gigabytes: float) -> None:
    """What a person does who reads the fix."""
    site.installed.settings["memory_gb"] = gigabytes
    site.installed.configure()


@pytest.mark.parametrize("what", KINDS.values(), ids=KINDS)
def test_a_bound_that_is_too_low(site: Site, what: str) -> None:
    """A runner may have less memory than its model takes: it is said, no video is blamed, and more lets all through."""
    takes(site, what)
    for key in site.keys:
        assert not site.run(key).success
    [wait] = site.waits()
    assert wait["cause"] == f"memory is short at {STAGE}"
    assert "raise memory_gb" in wait["do"]
    assert f"{LITTLE_GB:g} GB" in wait["why"]
    assert (wait["videos"], site.condemned()) == (2, [])
    allow(site, MUCH_GB)
    site.recover()
    assert site.conditions() == {"fresh"}
    assert (site.condemned(), site.waits()) == ([], [])


@pytest.mark.parametrize("what", KINDS.values(), ids=KINDS)
def test_one_video_that_takes_too_much(site: Site, what: str) -> None:
    """One video takes more memory than a runner may have, others do not: it fails, saying so, and holds up nobody."""
    hungry, modest = site.keys
    takes(site, what, hungry)
    assert not site.run(hungry).success, "first the machine is suspected"
    assert site.condemned() == []
    assert site.run(modest).success, "one video that met it holds up no other"
    site.recover()
    assert site.condemned() == [f"failures/{STAGE}/{hungry}"]
    assert "memory" in site.bench().state(stages()[STAGE], hungry).why
    assert site.waits() == []
    allow(site, MUCH_GB)
    assert "failed: " in site.command("refresh", "--retry-failed", "--stage", STAGE, "--plan")
    assert site.run(hungry).success, "a run that a person asks for tries it again"
    assert site.condemned() == []


def test_what_a_model_leaves_behind(site: Site) -> None:
    """A model keeps something of every clip until there is no memory left: a new process goes on with the next clip."""
    takes(site, LEFT)
    made = site.bench().make(stages()[STAGE], site.keys, "run")
    assert [outcome.state for outcome in made] == ["made", "made"]
    assert (site.condemned(), site.waits()) == ([], [])


@contextmanager
def little_machine(bound: int) -> Iterator[Group]:
    """A control group with a limit, as a container or a unit of systemd has one."""
    try:
        group = make(MEMORY_GROUP, bound, new_name())
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    with group:
        yield group


def test_the_memory_of_the_machine(site: Site) -> None:
    """The kernel kills runners because the machine, or the container around all, has no more memory."""
    allow(site, MUCH_GB)
    takes(site, SHARED)
    before = kills_for_memory()
    with little_machine(BYTES) as group:
        words = [sys.executable, "-m", "egoworld_assets.cli", "refresh", *site.keys]
        joined = ["sh", "-c", f'echo 0 > {group.door} && exec "$@"', "sh", *words]
        done = subprocess.run(joined, env=dict(os.environ), capture_output=True, text=True, check=False)
        print(
            done.stdout[-3000:],
            done.stderr[-3000:],
            Path(group.folder, "memory.max_usage_in_bytes").read_text(),
            Path(group.folder, "memory.failcnt").read_text(),
        )
    assert kills_for_memory() > before
    assert done.returncode == 1, done.stderr
    [wait] = site.waits()
    assert wait["cause"] == f"memory is short at {STAGE}"
    assert ("free -h" in wait["do"], "may have" in wait["why"]) == (True, False), "not by the bound of a runner"
    assert (wait["videos"], site.condemned()) == (2, [])
    site.recover()
    assert site.conditions() == {"fresh"}
    assert (site.condemned(), site.waits()) == ([], [])
