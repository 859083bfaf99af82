"""The store's server goes away, or takes our key no more, while something is made: videos wait and are not blamed."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from egoworld_assets.orchestration.walk import WAITS
from egoworld_resources.s3.access import S3Access
from egoworld_resources.s3.buckets import Buckets
from egoworld_resources.server import probes, s3_accounts
from egoworld_resources.server.s3_servers import S3Address, s3_server
from egoworld_resources.server.tools import Tools
from tests.made_faults import STAGE, Site, outer_environment
from tests.made_stores import environment
from tests.servers import READY_S, free_port, temporary_home
from tests.waiting import wait_for

SLOW_AT = "        for frame in range"


class Lab:
    """An S3 server that can be stopped and started, and the account that our processes have on it."""

    def __init__(self, name: str, tools: Tools, home: Path) -> None:
        self.name, self._tools, self._home = name, tools, home
        self._at = S3Address(free_port(), "owner", secrets.token_hex(16))
        facts = {"endpoint": self._at.endpoint, "bucket_name": "lab", "access_key": "owner"}
        self._owner = S3Access.model_validate({**facts, "secret_key": self._at.secret_key})
        self._process: subprocess.Popen[bytes] | None = None
        self.start()
        Buckets(self._owner).make()
        self.rotate()

    def start(self) -> None:
        """Start it, and wait until it serves."""
        self._process = process = s3_server(self.name, self._tools, self._home / self.name, self._at).start(
            self._home / "s3.log"
        )
        probes.wait(partial(probes.s3, self.name, self._at, "lab-artifacts"), READY_S, lambda: process.poll() is None)

    def stop(self) -> None:
        """Kill it in the middle of whatever it does."""
        assert self._process
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(30)

    def rotate(self) -> None:
        """Give our account another key; our processes do not know it."""
        keys = {"access_key": "ours", "secret_key": secrets.token_hex(16)}
        self.access = S3Access.model_validate({**self._owner.model_dump(), **keys})
        s3_accounts.make(self.name, self._owner, {"pipeline": self.access})

    def use(self) -> None:
        """Processes that start now have today's key."""
        os.environ.update(environment(self.access))


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest, tools: Tools) -> Iterator[Lab]:
    with temporary_home() as home:
        made = Lab(request.param, tools, home)
        yield made
        made.stop()


@pytest.fixture(scope="module")
def site(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Two videos in the store, whose hands are to be found next."""
    with outer_environment():
        lab.use()
        made = Site(tmp_path_factory.mktemp(lab.name))
        slow = SLOW_AT, f"        import time; time.sleep(1)\n{SLOW_AT}"
        made.installed.runner.write_text(made.installed.runner.read_text().replace(*slow, 1))
        made.prepare(2)
        yield made


@contextmanager
def amid_a_run(site: Site, lab: Lab, fault: str) -> Iterator[None]:
    """A fault as soon as a model is at work."""

    def hurt() -> None:
        wait_for(lambda: list(site.home.glob("scratch/*/videos/*/.*.partial")))
        getattr(lab, fault)()

    hurting = threading.Thread(target=hurt)
    hurting.start()
    try:
        yield
    finally:
        hurting.join()


@pytest.fixture(autouse=True)
def _todays_key(lab: Lab, _no_outer_configuration: None, site: Site) -> None:
    lab.use()
    os.environ["EGOWORLD_CONFIG"] = site.installed.config
    os.environ["EGOWORLD_MODEL_HOME"] = str(site.models)


ROTATED, KILLED = ("rotate", "use", "the store refuses our key"), ("stop", "start", "the store does not answer")


@pytest.mark.parametrize(
    ("lab", "fault", "end", "title"),
    [("minio", *ROTATED), ("minio", *KILLED), ("versitygw", *ROTATED)],
    ids=["MinIO, its key is changed", "MinIO, it is killed", "versitygw, its key is changed"],
    indirect=["lab"],
)
def test_the_store(site: Site, lab: Lab, fault: str, end: str, title: str) -> None:
    """A store fails amid a run: its videos wait, the cause is said once, and they are made when it is back."""
    site.installed.change(STAGE, "shift")
    first, second = site.keys
    with amid_a_run(site, lab, fault):
        result = site.run(first)
    assert not result.success
    run = site.instance.get_run_by_id(result.run_id)
    assert run
    assert WAITS in run.tags
    assert not site.run(second).success, "what is known to be at fault is not met again"
    output = site.command("status")
    assert output.count(title) == 1
    assert "2 videos wait at hand_poses" in " ".join(output.split())
    ticked = site.look("waiting")
    assert (ticked.run_requests, ticked.skip_message.count(title)) == ([], 1)
    assert site.listed().count(title) == 1
    getattr(lab, end)()
    site.recover()
    assert site.conditions() == {"fresh"}
    assert (site.condemned(), site.waits()) == ([], [])
