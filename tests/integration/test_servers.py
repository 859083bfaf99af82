"""The servers that other tests rely on are the real ones, and they answer."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import pytest

from egoworld_resources.s3.objects import Objects
from egoworld_resources.server import probes
from egoworld_resources.server.environment import ServerSettings
from egoworld_resources.server.roles import grant
from egoworld_resources.server.s3_servers import S3Address
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


@pytest.mark.parametrize("server", ["minio", "versitygw"])
def test_s3_answers(server: str, request: pytest.FixtureRequest) -> None:
    at: S3Address = request.getfixturevalue(server)
    access = access_to(at)
    assert "no bucket of-nobody yet" in probes.s3(server, at, "of-nobody")
    assert "an object was put, read and removed" in probes.s3(server, at, access.bucket("artifacts"))
    assert list(Objects(access, access.bucket("artifacts")).list("")) == []
    with pytest.raises(probes.Unhealthy, match="SignatureDoesNotMatch"):
        probes.s3(server, S3Address(at.port, at.access_key, "0" * 32), access.bucket("artifacts"))
