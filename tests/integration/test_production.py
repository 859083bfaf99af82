"""A whole server on free ports, as `make up` starts it: healthy, closed to strangers, hard to kill, loses nothing."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

import boto3
import psutil
import psycopg2
import pytest

from egoworld_resources.environments.checkout import checkout_uv
from egoworld_resources.production import probes
from egoworld_resources.production.environment import ServerSettings
from egoworld_resources.production.ports import orphans
from egoworld_resources.production.proxy import ask
from egoworld_resources.production.running import Server
from egoworld_resources.settings import PROJECT, Settings
from servers import free_port, temporary_home

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

PORTS = (
    "POSTGRES_PORT",
    "DAGSTER_CODE_PORT",
    "DAGSTER_OPERATOR_PORT",
    "DAGSTER_VIEWER_PORT",
    "PROXY_PORT",
    "PROXY_S3_PORT",
)
PARTS = ["postgres", "s3", "code-location", "webserver", "webserver-viewer", "daemon", "proxy"]
SET = b'{"query":"mutation{setConcurrencyLimit(concurrencyKey:\\"cpu\\",limit:3)}"}'
ASK = b'{"query":"{instance{concurrencyLimit(concurrencyKey:\\"cpu\\"){slotCount}}}"}'


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with temporary_home() as home:
        uv = checkout_uv(PROJECT)
        server = Server(Settings.load(home=home, uv=uv.program, uv_cache=uv.cache))
        given = {name: str(free_port()) for name in PORTS}
        given |= {"S3_ENDPOINT": f"http://127.0.0.1:{free_port()}", "S3_BUCKET_NAME": "lab"}
        server.parts.env_file.ensure(given)
        try:
            server.up()
            yield server
        finally:
            server.down()
            assert orphans(server.folder) == {}


@pytest.fixture
def settings(server: Server) -> ServerSettings:
    return server.parts.server


def pids(server: Server) -> dict[str, int]:
    return {part.name: part.pid for part in server.health()}


def in_proxy(
    server: Server, login: str | None, path: str = "/server_info", body: bytes | None = None
) -> tuple[int, str]:
    settings = server.parts.server
    password = {"viewer": settings.viewer_password, "operator": settings.operator_password}
    user = (login, password[login].get_secret_value()) if login else None
    answer = ask(settings, server.folder / "proxy", user, path, body)
    return answer.status, answer.body.decode(errors="replace")


def test_every_part_runs_and_is_healthy(server: Server) -> None:
    health = server.health()
    assert [part.name for part in health] == PARTS
    assert {part.name: part.said for part in health if not part.healthy} == {}
    assert all(part.state == "RUNNING" and part.pid for part in health)
    assert "lab-artifacts, lab-inbox, lab-weights" in health[1].said


def test_up_leaves_alone_what_runs(server: Server) -> None:
    before = pids(server)
    server.up()
    assert pids(server) == before


def test_strangers_are_kept_out_and_viewers_change_nothing(server: Server) -> None:
    assert in_proxy(server, None)[0] == 401
    assert in_proxy(server, None, "/graphql", SET)[0] == 401
    in_proxy(server, "viewer", "/graphql", SET)
    seen = [in_proxy(server, login, "/graphql", ASK) for login in ("viewer", "operator")]
    assert seen == [(200, '{"data":{"instance":{"concurrencyLimit":{"slotCount":1}}}}')] * 2
    in_proxy(server, "operator", "/graphql", SET)
    assert in_proxy(server, "viewer", "/graphql", ASK)[1].endswith('{"slotCount":3}}}}')


def test_a_command_in_its_environment_works_on_its_postgres_and_buckets(server: Server) -> None:
    asked = (
        "from egoworld_assets.flow import instance_of; from egoworld_resources.workbench import Workbench; "
        "from egoworld_resources.settings import Settings; bench = Workbench(Settings.load()); "
        "print(type(instance_of(bench).run_storage).__name__, type(bench.store).__name__)"
    )
    command = [sys.executable, "-m", "egoworld_resources.production", "env", "python", "-c", asked]
    env = {**os.environ, "EGOWORLD_HOME": str(server.parts.settings.home)}
    done = subprocess.run(command, cwd=PROJECT, env=env, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["PostgresRunStorage", "S3Store"], done.stderr


def test_s3_is_reached_through_the_proxy_but_not_its_administration(server: Server, settings: ServerSettings) -> None:
    certificate = server.folder / "proxy" / "pki" / "authorities" / "local" / "root.crt"
    with closing(s3_client(settings, f"https://localhost:{settings.proxy_s3_port}", str(certificate))) as client:
        assert len(client.list_buckets()["Buckets"]) == 3
    folder = server.folder / "proxy"
    assert ask(settings, folder, None, "/minio/health/live", port=settings.proxy_s3_port).status == 404


def test_all_but_the_proxy_bind_loopback_and_the_proxy_what_it_is_told(server: Server) -> None:
    processes = [
        process
        for part in server.health()
        for process in [psutil.Process(part.pid), *psutil.Process(part.pid).children(recursive=True)]
    ]
    listening = {
        connection.laddr[0]
        for process in processes
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


def test_secrets_stand_in_the_env_file_alone(server: Server, settings: ServerSettings) -> None:
    assert stat.S_IMODE(server.parts.env_file.path.stat().st_mode) == 0o600
    told = [file for file in server.folder.rglob("*") if file.is_file() and file != server.parts.env_file.path]
    assert server.folder / "logs" / "proxy.log" in told
    for secret in settings.secrets:
        assert [file for file in told if secret.encode() in file.read_bytes()] == []
        assert secret not in repr(settings)
    lines = [" ".join(process.cmdline()) for process in psutil.process_iter() if process.pid != os.getpid()]
    assert not [line for line in lines for secret in settings.secrets if secret in line]


@pytest.mark.parametrize("part", ["postgres", "s3", "code-location"])
def test_a_part_killed_is_started_again(server: Server, part: str) -> None:
    old = pids(server)[part]
    psutil.Process(old).kill()

    def again() -> str:
        health = {one.name: one for one in server.health()}
        if health[part].pid in (0, old) or not all(one.healthy for one in health.values()):
            raise probes.Unhealthy(str(health))
        return health[part].said

    probes.wait(again, 120)


def test_down_and_up_lose_nothing(server: Server, settings: ServerSettings) -> None:
    with closing(connected(settings)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE kept (word text)")
        cursor.execute("INSERT INTO kept VALUES ('still here')")
    with closing(s3_client(settings, settings.s3_endpoint)) as client:
        client.put_object(Bucket="lab-inbox", Key="a/b.mp4", Body=b"bytes")
    known = pids(server)

    server.down()

    assert not [pid for pid in known.values() if psutil.pid_exists(pid)]
    assert not any(part.healthy for part in server.health())
    stale = server.folder / "supervisord.pid"
    stale.write_text(str(os.getpid()), encoding="ascii")  # as after a power cut: a number that is now another's

    server.up(["postgres", "s3"])

    assert [part.name for part in server.health() if part.healthy] == ["postgres", "s3"]
    with closing(connected(settings)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT word FROM kept")
        assert cursor.fetchall() == [("still here",)]
    with closing(s3_client(settings, settings.s3_endpoint)) as client:
        assert client.get_object(Bucket="lab-inbox", Key="a/b.mp4")["Body"].read() == b"bytes"


def test_down_ends_parts_whose_supervisor_was_killed(server: Server) -> None:
    """The last test: the server is down after it."""
    psutil.Process(int((server.folder / "supervisord.pid").read_text(encoding="ascii"))).kill()
    left = orphans(server.folder)
    assert sorted(left) == ["postgres", "s3"]
    server.down()
    assert orphans(server.folder) == {}
    assert not [process for found in left.values() for process in found if process.is_running()]


def connected(settings: ServerSettings) -> psycopg2.extensions.connection:
    at = settings.postgres
    return psycopg2.connect(host=at.host, port=at.port, user=at.user, password=at.password, dbname=at.database)


def s3_client(settings: ServerSettings, endpoint: str, certificate: str | None = None) -> S3Client:
    keys = {"aws_access_key_id": settings.s3.access_key, "aws_secret_access_key": settings.s3.secret_key}
    return boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", verify=certificate, **keys)
