"""A server of an earlier version, whose Postgres was one superuser's on a port, taken up with all it holds."""

from __future__ import annotations

import re
import secrets
import signal
from contextlib import closing
from functools import partial
from pathlib import Path

import psycopg2
import pytest

from egoworld_resources.server import schema
from egoworld_resources.server.environment import RETIRED
from egoworld_resources.server.postgres import PostgresAddress
from egoworld_resources.server.running import Server
from egoworld_resources.server.tools import Tools
from egoworld_resources.settings import Settings
from tests.made_server import on_free_ports
from tests.servers import free_port, let_in, postgres, running, temporary_home

ADD = "INSERT INTO dynamic_partitions (partitions_def_name, partition) VALUES"


def of_before(home: Path, tools: Tools) -> PostgresAddress:
    """A home as the version before left it: a superuser with a password owns every table; the .env has its ports."""
    server = Server(Settings.load(home=home))
    server.folder.mkdir(parents=True)
    server.folder.chmod(0o711)
    at = PostgresAddress(free_port(), "egoworld", secrets.token_hex(16), "egoworld")
    with running(postgres(tools, server.folder / "postgres", at), partial(let_in, at), home / "log", signal.SIGINT):
        schema.make(at)
        with closing(at.connect()) as connection, connection, connection.cursor() as cursor:
            cursor.execute(f"{ADD} ('videos', 'kitchen')")
            cursor.execute("INSERT INTO kvs (key, value) VALUES ('a', 'b')")
    env_file = server.parts.env_file
    env_file.ensure(on_free_ports())
    text = env_file.path.read_text(encoding="utf-8")
    earlier = re.sub(r"(?m)^(POSTGRES_\w+_PASSWORD|ENV_\w+_TOKEN)=.*\n", "", text)
    variables = {"POSTGRES_USER": at.user, "POSTGRES_PASSWORD": at.password}
    lines = [f"{name}={variables.get(name, at.port)}\n" for name in RETIRED]
    env_file.path.write_text(earlier + "".join(lines), encoding="utf-8")
    return at


def test_a_server_of_the_version_before_is_taken_up(tools: Tools) -> None:
    with temporary_home() as home:
        before = of_before(home, tools)
        server = Server(Settings.load(home=home))
        try:
            server.up(["postgres"])
            settings = server.parts.server
            assert not [name for name in RETIRED if name in server.parts.env_file.values()]
            for role in ("dagster", "runs", "viewer", "backup"):
                with closing(settings.postgres_as(role).connect()) as connection, connection.cursor() as cursor:
                    cursor.execute("SELECT partition FROM dynamic_partitions")
                    assert cursor.fetchall() == [("kitchen",)]
            with closing(settings.postgres_as("dagster").connect()) as connection, connection.cursor() as cursor:
                cursor.execute(f"{ADD} ('videos', 'hall')")
            with closing(settings.postgres.connect()) as connection, connection.cursor() as cursor:
                cursor.execute("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'")
                assert cursor.fetchall() == [("egoworld_owner",)]
                cursor.execute("SELECT DISTINCT sequenceowner FROM pg_sequences WHERE schemaname = 'public'")
                assert cursor.fetchall() == [("egoworld_owner",)]
            for host in (settings.postgres.host, before.host):
                with pytest.raises(psycopg2.OperationalError):
                    psycopg2.connect(
                        host=host,
                        port=settings.postgres.port if host.startswith("/") else before.port,
                        user=before.user,
                        password=before.password,
                        dbname=before.database,
                        connect_timeout=2,
                    )
            text = server.parts.env_file.path.read_text(encoding="utf-8")
            secret = settings.postgres_viewer_password.get_secret_value()
            server.parts.env_file.write(text.replace(secret, "another-password-of-the-viewer"))
            server.up(["postgres"])
            server.parts.server.postgres_as("viewer").connect().close()
            with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
                settings.postgres_as("viewer").connect()
        finally:
            server.down()
