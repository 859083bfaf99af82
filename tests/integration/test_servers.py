"""The servers that other tests rely on are the real ones, and they answer."""

from __future__ import annotations

import pytest

from egoworld_resources.production import probes
from egoworld_resources.production.postgres import PostgresAddress
from egoworld_resources.production.s3_servers import S3Address


def test_postgres_answers(postgres_server: PostgresAddress) -> None:
    assert "SELECT 1 answered" in probes.postgres(postgres_server)


def test_a_wrong_password_is_unhealthy(postgres_server: PostgresAddress) -> None:
    wrong = PostgresAddress(postgres_server.port, postgres_server.user, "wrong", postgres_server.database)
    with pytest.raises(probes.Unhealthy, match="password authentication failed"):
        probes.postgres(wrong)


@pytest.mark.parametrize("server", ["minio", "versitygw"])
def test_s3_answers(server: str, request: pytest.FixtureRequest) -> None:
    at: S3Address = request.getfixturevalue(server)
    assert probes.s3(server, at).startswith(f"{server}, buckets: "), "other tests may have made some"
    with pytest.raises(probes.Unhealthy, match="SignatureDoesNotMatch"):
        probes.s3(server, S3Address(at.port, at.access_key, "0" * 32))
