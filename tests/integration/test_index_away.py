"""The Postgres of the index is killed at work: no video is blamed, and once it is back the index says what is made."""

from __future__ import annotations

import secrets
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from egoworld_assets.orchestration.registry import stages
from egoworld_resources.artifacts.manifest import Manifest
from egoworld_resources.errors import IndexAway
from egoworld_resources.server import probes
from egoworld_resources.server.postgres import PostgresAddress
from egoworld_resources.server.tools import Tools
from egoworld_resources.store.folder import FolderStore
from egoworld_resources.store.index import Index
from egoworld_resources.store.known import known
from egoworld_resources.store.reindex import catch_up, reindex
from egoworld_resources.store.rows import Place
from tests.made_faults import STAGE, Site, outer_environment, prepared_store
from tests.made_stores import artifact
from tests.servers import free_port, let_in, postgres, temporary_home

READY_S = 60.0
PLACE = Place("artifact", "masks", "v")


class Cluster:
    """A Postgres that can be killed and started again."""

    def __init__(self, tools: Tools, home: Path) -> None:
        self._at = PostgresAddress(free_port(), "egoworld", secrets.token_hex(16), "egoworld")
        self._launch = postgres(tools, home / "postgres", self._at)
        self._log = home / "postgres.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"postgresql://egoworld:{self._at.password}@127.0.0.1:{self._at.port}/egoworld"

    def start(self) -> None:
        """Start it; it may have to wait for what a killed one left behind."""

        def answers() -> str:
            if self._process is None or self._process.poll() is not None:
                self._process = self._launch.start(self._log)
            return let_in(self._at)

        probes.wait(answers, READY_S)

    def kill(self) -> None:
        """The end of it at once, by kill -9."""
        if self._process:
            self._process.kill()
            self._process.wait(READY_S)

    def stop(self) -> None:
        if self._process:
            self._process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(READY_S)


@pytest.fixture(scope="module")
def cluster(tools: Tools) -> Iterator[Cluster]:
    with temporary_home() as home:
        found = Cluster(tools, home)
        found.start()
        try:
            yield found
        finally:
            found.stop()


@pytest.fixture
def store(cluster: Cluster, tmp_path: Path) -> FolderStore:
    """A store with an index in that Postgres, complete."""
    found = FolderStore(tmp_path / "store", partial(Index, url=cluster.url))
    assert found.index
    found.index.prepare()
    found.index.distrust()
    assert catch_up(found.index, found)
    return found


def version(store: FolderStore) -> str | None:
    """What the index says is live of masks of v."""
    assert store.index
    found = store.index.ask(lambda connection: known(connection, "artifact", "masks", ["v"]))
    return getattr(found.get(PLACE), "data_version", None)


def test_killed_amid_a_run_it_is_a_fault_of_the_machine(cluster: Cluster, tmp_path: Path) -> None:
    class Killing(FolderStore):
        """A store whose Postgres is gone by the time that a model is done."""

        def put(self, staged: Path, manifest: Manifest) -> Path:
            cluster.kill()
            return super().put(staged, manifest)

    template = prepared_store(tmp_path / "template")
    with outer_environment():
        site = Site(tmp_path, template, settle_s=0.0, index=cluster.url)
        keys = site.keys
        killing = Killing(site.home / "store", partial(Index, url=cluster.url))
        assert not site.run(keys[0], store=killing).success
        assert site.condemned() == []
        (waits,) = site.waits()
        assert waits["videos"] == 1
        assert "the index of the store in Postgres cannot be used" in waits["why"]
        assert site.conditions() == {"missing"}
        cluster.start()
        assert site.recover()
        assert site.bench().state(stages()[STAGE], keys[0]).condition == "fresh"
        assert site.waits() == []
        assert site.condemned() == []
        found = site.bench().store
        assert isinstance(found, FolderStore)
        assert found.index
        found.index.settle_left(found)
        assert catch_up(found.index, found)
        assert list(reindex(found.index, found)) == []


def test_killed_between_the_mark_and_its_settling_it_is_put_right_at_the_next_look(
    cluster: Cluster, store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new, manifest = artifact(tmp_path / "new", {"masks.parquet": b"one"})
    assert store.index

    def put() -> None:
        assert store.index
        with store.index.changing(store, PLACE):
            FolderStore(store.root, None).put(new, manifest)
            cluster.kill()

    with pytest.raises(IndexAway):
        put()
    cluster.start()
    store.index.settle_left(store)
    assert version(store) is None, "its writer lives, and may be at it"
    monkeypatch.setattr("egoworld_resources.store.index.LONG_S", 0.0)
    store.index.settle_left(store)
    assert version(store) == manifest.data_version
    assert list(reindex(store.index, store)) == []


def test_back_before_it_is_settled_nobody_notices(cluster: Cluster, store: FolderStore, tmp_path: Path) -> None:
    new, manifest = artifact(tmp_path / "new", {"masks.parquet": b"two"})
    assert store.index
    with store.index.changing(store, PLACE):
        cluster.kill()
        FolderStore(store.root, None).put(new, manifest)
        cluster.start()
    assert version(store) == manifest.data_version
    assert list(reindex(store.index, store)) == []
