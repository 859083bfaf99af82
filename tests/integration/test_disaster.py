"""A server as `make up` makes it, backed up, lost, and made again: the same artifacts, and Dagster knows the same."""

from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest

from egoworld_assets.automation.inbox_sensor import inbox
from egoworld_assets.definitions import build
from egoworld_assets.orchestration.instance import instance_of
from egoworld_assets.orchestration.registry import stages
from egoworld_resources.environments.checkout import checkout_uv
from egoworld_resources.errors import BadConfiguration
from egoworld_resources.making.workbench import Workbench
from egoworld_resources.s3.buckets import client
from egoworld_resources.server.backup import cli
from egoworld_resources.server.backup.restore import NotEmpty
from egoworld_resources.server.ports import orphans
from egoworld_resources.server.running import Server
from egoworld_resources.settings import PROJECT, Settings
from egoworld_resources.store.fsck import fsck
from tests.made_graph import Installation
from tests.made_server import on_free_ports
from tests.made_up import video
from tests.sensors import partitions_in, take_in
from tests.servers import temporary_home

MADE = [dg.AssetKey(name) for name in ("videos", "clips", "hand_poses")]


@pytest.fixture
def installation(monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    """A home on free ports whose Postgres and S3 run; afterwards nothing of it does."""
    with temporary_home() as folder:
        uv = checkout_uv(PROJECT)
        made = Installation(folder)
        monkeypatch.setenv("EGOWORLD_CONFIG", made.config)
        monkeypatch.setenv("EGOWORLD_UV", str(uv.program))
        monkeypatch.setenv("EGOWORLD_UV_CACHE", str(uv.cache))
        server = Server(Settings.load())
        server.parts.env_file.ensure(on_free_ports())
        try:
            server.up(["postgres", "s3"])
            yield made
        finally:
            server.down()
            assert orphans(server.folder) == {}


def environment(monkeypatch: pytest.MonkeyPatch) -> Workbench:
    """A workbench in the environment of the server's Dagster, as `production env` gives it."""
    for name, value in Server(Settings.load()).parts.dagster_environment().items():
        monkeypatch.setenv(name, value)
    return Workbench(Settings.load())


def upload(*paths: Path) -> None:
    access = Server(Settings.load()).parts.server.s3_access
    with closing(client(access, access.endpoint)) as s3:
        for path in paths:
            s3.upload_file(str(path), access.bucket("inbox"), path.name)


def tick(bench: Workbench, instance: dg.DagsterInstance, cursor: str | None) -> tuple[dict[str, str], str | None]:
    """One look of the inbox sensor, its partitions added; the run keys by video that Dagster has no run of yet."""
    result = inbox(dg.build_sensor_context(instance=instance, cursor=cursor, resources={"bench": bench}))
    assert isinstance(result, dg.SensorResult)
    take_in(instance, result)
    run_keys = {
        video: str(request.run_key)
        for request in result.run_requests or ()
        for video in partitions_in(instance, [request])
    }
    new = {
        video: key
        for video, key in run_keys.items()
        if not instance.get_runs(dg.RunsFilter(tags={"dagster/run_key": key}))
    }
    return new, result.cursor


def flow(bench: Workbench, instance: dg.DagsterInstance, run_keys: dict[str, str]) -> None:
    """The first stages of these videos, one run a video as the sensor asked for it."""
    job = build(bench).resolve_job_def("flow")
    for key, run_key in run_keys.items():
        options: dict[str, Any] = {"tags": {"dagster/run_key": run_key}, "asset_selection": MADE}
        assert job.execute_in_process(instance=instance, partition_key=key, **options).success


def known(installation: Installation, bench: Workbench, instance: dg.DagsterInstance) -> dict[str, Any]:
    """What Dagster and egoworld say of every artifact."""
    state: dict[str, Any] = {"partitions": sorted(instance.get_dynamic_partitions("videos"))}
    for name in stages():
        records = instance.fetch_materializations(dg.AssetKey(name), limit=100).records
        state[name] = [(r.storage_id, r.run_id, r.partition_key, r.asset_materialization) for r in records]
    state["runs"] = [(run.run_id, run.status, run.tags) for run in instance.get_runs()]
    state["status"] = json.loads(installation.ask("status", "--json"))
    state["live"] = {
        (name, key): bench.store.current(name, key) for name in stages() for key, _ in bench.store.records("videos")
    }
    return state


@pytest.mark.timeout(1200)
def test_a_lost_server_is_made_again(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to, home = tmp_path / "to", installation.folder / "data"
    with monkeypatch.context() as patch:
        upload(*(video(tmp_path / f"{n}.mp4", shots=(10 + n, 12)) for n in range(2)))
        bench = environment(patch)
        with instance_of(bench) as instance:
            run_keys, cursor = tick(bench, instance, None)
            assert len(run_keys) == 2
            flow(bench, instance, run_keys)
            before = known(installation, bench, instance)
            assert [made for made in before["live"].values() if made]
    cli.backup(to)
    secret = (home / "production" / ".env").read_bytes()

    with pytest.raises(NotEmpty):
        cli.restore_backup(to)
    Server(Settings.load()).down()
    with pytest.raises(BadConfiguration, match="postgres must run to be backed up"):
        cli.backup(to)
    shutil.rmtree(home)

    cli.restore_backup(to)

    restored = home / "production" / ".env"
    assert (restored.read_bytes(), stat.S_IMODE(restored.stat().st_mode)) == (secret, 0o600)
    with monkeypatch.context() as patch:
        bench = environment(patch)
        with instance_of(bench) as instance:
            assert known(installation, bench, instance) == before
            assert list(fsck(bench.store)) == [], "every byte"
            assert tick(bench, instance, cursor)[0] == tick(bench, instance, None)[0] == {}, (
                "nothing is asked for twice"
            )
            upload(video(tmp_path / "late.mp4", shots=(20, 12)))
            late, _ = tick(bench, instance, None)
            assert len(late) == 1
            flow(bench, instance, late)

    server = Server(Settings.load())
    server.supervisor.stop_parts(["postgres"])
    shutil.rmtree(home / "production" / "postgres")
    assert psutil.Process(server.supervisor.states()["s3"].pid).is_running()

    cli.restore_backup(to, only="postgres")

    with monkeypatch.context() as patch:
        bench = environment(patch)
        with instance_of(bench) as instance:
            assert sorted(instance.get_dynamic_partitions("videos")) == before["partitions"], (
                "it is older than the bucket"
            )
            assert tick(bench, instance, cursor)[0] == late, "what the database does not know of is told again"
            flow(bench, instance, late)
            (video_key,) = late
            for asset in MADE:
                assert video_key in instance.get_materialized_partitions(asset)
                (record,) = instance.fetch_materializations(asset, limit=1).records
                assert record.asset_materialization is not None
                assert record.asset_materialization.metadata["state"].value == "fresh", "nothing is made twice"
