"""Real servers for tests, on free ports in temporary folders, started by the code that starts them in production."""

from __future__ import annotations

import secrets
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psycopg2
import pytest

from egoworld_resources.server import probes
from egoworld_resources.server.environment import ServerSettings
from egoworld_resources.server.launch import LOOPBACK, Launch, unprivileged
from egoworld_resources.server.parts import Parts
from egoworld_resources.server.places import Places
from egoworld_resources.server.postgres import SOCKET_PORT, PostgresAddress, binaries, own, serving
from egoworld_resources.server.s3_servers import S3Address, s3_server
from egoworld_resources.server.tools import Tools
from egoworld_resources.settings import Settings

READY_S = 60.0


def free_port() -> int:
    """A port of loopback that nothing listens on now."""
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        return int(taken.getsockname()[1])


@contextmanager
def temporary_home() -> Iterator[Path]:
    """A folder that another user may pass through, as Postgres must when the tests run as root."""
    with tempfile.TemporaryDirectory(prefix="egoworld-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


@contextmanager
def running(launch: Launch, probe: probes.Probe, log: Path, stop: signal.Signals = signal.SIGTERM) -> Iterator[None]:
    """A server while the context lasts, healthy from its first line on."""
    server = launch.start(log)
    try:
        try:
            probes.wait(probe, READY_S, lambda: server.poll() is None)
        except probes.Unhealthy as error:
            pytest.fail(f"{launch.command[0]} does not work: {error}\n{log.read_text(errors='replace')[-3000:]}")
        yield
    finally:
        server.send_signal(stop)
        server.wait(READY_S)


@contextmanager
def answering(answers: Callable[..., BaseHTTPRequestHandler]) -> Iterator[str]:
    """The URL of an HTTP server on a free port that answers by ``answers``."""
    with ThreadingHTTPServer((LOOPBACK, 0), answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{LOOPBACK}:{server.server_port}"
        server.shutdown()


@contextmanager
def s3_running(name: str, tools: Tools) -> Iterator[S3Address]:
    """An S3 server by its name, with keys of its own."""
    with temporary_home() as home:
        at = S3Address(free_port(), f"test{secrets.token_hex(6)}", secrets.token_hex(16))
        launch = s3_server(name, tools, home / name, at)
        with running(launch, partial(probes.s3, name, at, "artifacts"), home / f"{name}.log"):
            yield at


@pytest.fixture(scope="session")
def tools() -> Tools:
    """Programs of other people beside uv's cache, fetched or built when they are not there yet."""
    return Tools.of(Settings.load())


@pytest.fixture(scope="session")
def minio(tools: Tools) -> Iterator[S3Address]:
    """A real MinIO: endpoint, access_key, secret_key."""
    with s3_running("minio", tools) as at:
        yield at


@pytest.fixture(scope="session")
def versitygw(tools: Tools) -> Iterator[S3Address]:
    """A real versitygw: endpoint, access_key, secret_key."""
    with s3_running("versitygw", tools) as at:
        yield at


@pytest.fixture(scope="session")
def postgres_server(tools: Tools) -> Iterator[PostgresAddress]:
    """A real Postgres with its superuser: host, port, user, password, database."""
    with temporary_home() as home:
        at = PostgresAddress(free_port(), "egoworld", secrets.token_hex(16), "egoworld")
        with running(postgres(tools, home / "postgres", at), partial(let_in, at), home / "postgres.log", signal.SIGINT):
            yield at


@pytest.fixture(scope="session")
def server_postgres(tools: Tools) -> Iterator[ServerSettings]:
    """The Postgres of a server of ours, with its roles: settings, of which its address as each role."""
    with temporary_home() as home:
        parts = Parts(Settings.load(home=home))
        parts.env_file.ensure({"POSTGRES_DB": "lab"})
        parts.prepare()
        part = parts.one("postgres")
        with running(part.launch(), part.probe, home / "postgres.log", signal.SIGINT):
            yield parts.server


def lent(server: ServerSettings, state: Path) -> dict[str, str]:
    """What the .env of a server with its state in ``state`` says, so that this Postgres counts as its own."""
    mine, its = Places(state), server.places
    mine.make()
    (mine.postgres / f".s.PGSQL.{SOCKET_PORT}").symlink_to(its.postgres / f".s.PGSQL.{SOCKET_PORT}")
    passwords = {f"POSTGRES_{role.upper()}_PASSWORD": said for role, said in server.postgres_passwords.items()}
    return {"POSTGRES_DB": server.postgres_db, **passwords}


def postgres(tools: Tools, cluster: Path, at: PostgresAddress) -> Launch:
    """Somebody's Postgres on TCP, as audits and backups may meet one; its superuser is ``at.user``."""
    user, folder = unprivileged(), binaries(tools, cluster)
    if not (cluster / "PG_VERSION").is_file():
        cluster.mkdir(mode=0o700, parents=True)
        password = cluster.with_name("password")
        password.write_text(at.password, encoding="ascii")
        for path in (cluster, password) if user else ():
            own(path, user or "")
        how = ("--username", at.user, "--pwfile", str(password), "--auth", "scram-sha-256", "--locale", "C")
        made = Launch((str(folder / "initdb"), "--pgdata", str(cluster), "--encoding", "UTF8", *how), user=user)
        done = made.run(cluster)
        assert done.returncode == 0, done.stderr
        alone = Launch((str(folder / "postgres"), "--single", "-D", str(cluster), "postgres"), user=user)
        assert alone.run(cluster, f'CREATE DATABASE "{at.database}" OWNER "{at.user}"\n').returncode == 0
    settings = {"listen_addresses": LOOPBACK, "unix_socket_directories": ""}
    return serving(folder, cluster, at.port, settings, user)


def let_in(at: PostgresAddress) -> str:
    """Healthy once Postgres lets us in."""
    try:
        at.connect(probes.SECONDS).close()
    except psycopg2.Error as error:
        raise probes.Unhealthy(str(error)) from error
    return "lets us in"
