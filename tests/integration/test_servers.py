"""The servers that other tests rely on are the real ones, and they answer."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from egoworld_resources.errors import IndexAway
from egoworld_resources.s3.objects import Objects
from egoworld_resources.server import probes, schema
from egoworld_resources.server.environment import ServerSettings
from egoworld_resources.server.roles import grant
from egoworld_resources.server.s3_servers import S3Address
from egoworld_resources.store.folder import FolderStore
from egoworld_resources.store.index import Index
from egoworld_resources.store.known import known
from egoworld_resources.store.rows import Place
from tests.made_stores import access_to


def test_postgres_answers(server_postgres: ServerSettings) -> None:
    assert "a row was written and read" in probes.postgres(server_postgres.postgres_as("probe"))


def test_a_wrong_password_is_unhealthy(server_postgres: ServerSettings) -> None:
    wrong = replace(server_postgres.postgres_as("probe"), password="wrong")
    with pytest.raises(probes.Unhealthy, match="password authentication failed"):
        probes.postgres(wrong)


def test_a_postgres_that_cannot_write_is_unhealthy(server_postgres: ServerSettings) -> None:
    owner, table = server_postgres.postgres, "server_probe"
    with closing(owner.connect()) as connection, connection, connection.cursor() as cursor:
        cursor.execute(f"REVOKE INSERT ON {table} FROM egoworld_probe")
    try:
        with pytest.raises(probes.Unhealthy, match="permission denied"):
            probes.postgres(server_postgres.postgres_as("probe"))
    finally:
        grant(owner)
    probes.postgres(server_postgres.postgres_as("probe"))


def test_each_role_has_the_rights_on_the_index_that_it_needs(server_postgres: ServerSettings, tmp_path: Path) -> None:
    schema.ensure(server_postgres.postgres, tmp_path / "mark")
    store = FolderStore(tmp_path / "store")
    for role in ("runs", "dagster"):
        index = Index(url=server_postgres.postgres_as(role).url)
        with index.changing(store, Place("video", "", "v")):
            store.record("videos", "v", {"name": role, "sha256": role, "bytes": 1})
    counting = Index(url=server_postgres.postgres_as("metrics").url)
    there = counting.ask(lambda connection: known(connection, "video", "", ["v"]))
    assert [facts["name"] for facts in there.values() if isinstance(facts, dict)] == ["dagster"]
    with pytest.raises(IndexAway, match="permission denied"):
        counting.distrust()
    for role in ("viewer", "envs", "probe"):
        with pytest.raises(IndexAway, match="permission denied"):
            Index(url=server_postgres.postgres_as(role).url).prepare()


@pytest.mark.parametrize("server", ["minio", "versitygw"])
def test_s3_answers(server: str, request: pytest.FixtureRequest) -> None:
    at: S3Address = request.getfixturevalue(server)
    access = access_to(at)
    assert "no bucket of-nobody yet" in probes.s3(server, at, "of-nobody")
    assert "an object was put, read and removed" in probes.s3(server, at, access.bucket("artifacts"))
    assert list(Objects(access, access.bucket("artifacts")).list("")) == []
    with pytest.raises(probes.Unhealthy, match="SignatureDoesNotMatch"):
        probes.s3(server, S3Address(at.port, at.access_key, "0" * 32), access.bucket("artifacts"))
