"""Another user of the machine that the server runs on: every port, socket, file, process and lock."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import pytest

from egoworld_resources.environments.building.uv import Uv
from egoworld_resources.environments.checkout import checkout_uv
from egoworld_resources.errors import BadConfiguration
from egoworld_resources.gpu import Device, lease
from egoworld_resources.leases.locks import locked
from egoworld_resources.leases.named import Leases
from egoworld_resources.server.dagster_parts import graphql
from egoworld_resources.server.places import Places
from egoworld_resources.server.running import Server
from egoworld_resources.settings import PROJECT
from tests.made_code import open_python
from tests.made_server import in_env, in_proxy
from tests.servers import temporary_home

STRANGER = 54_321
"""A user of the machine who has no name and is in no group of ours."""
LIMIT = '{instance{concurrencyLimit(concurrencyKey:"cpu"){slotCount}}}'
SET = b'{"query":"mutation{setConcurrencyLimit(concurrencyKey:\\"cpu\\",limit:7)}"}'
FORGED = b'{"asset_key":"videos","metadata":{"forged":true}}'
AS_THE_STRANGER = """
import fcntl, http.client, json, os, socket, struct, sys
asked = json.loads(sys.stdin.readline())
found = {"opened": [], "written": [], "listed": [], "held": [], "connected": [], "environments": [], "answers": []}
def tries(name, what, act):
    try:
        act()
    except OSError:
        return
    found[name].append(what)
kept = []
for path in asked["files"]:
    tries("opened", path, lambda: os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK)))
    tries("written", path, lambda: os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK)))
    def hold():
        kept.append(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
        fcntl.flock(kept[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
        everything = struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
        fcntl.fcntl(kept[-1], fcntl.F_OFD_SETLK, everything)
    tries("held", path, hold)
for path in asked["folders"]:
    tries("listed", path, lambda: os.listdir(path))
    tries("written", path, lambda: os.close(os.open(path + "/planted", os.O_WRONLY | os.O_CREAT | os.O_EXCL)))
for path in asked["sockets"]:
    tries("connected", path, lambda: socket.socket(socket.AF_UNIX).connect(path))
for pid in asked["processes"]:
    for name in ("environ", "mem", "fd", "cwd"):
        act = {"fd": os.listdir, "cwd": os.readlink}.get(name, lambda path: open(path, "rb").read(1))
        tries("environments", f"/proc/{pid}/{name}", lambda: act(f"/proc/{pid}/{name}"))
    tries("environments", f"signal to {pid}", lambda: os.kill(pid, 0))
for host, port in asked["ports"]:
    for method, path, body in asked["requests"]:
        try:
            connection = http.client.HTTPConnection(host, port, timeout=60)
            connection.request(method, path, body, {"Content-Type": "application/json"})
            found["answers"].append([port, method, path, connection.getresponse().status])
        except (OSError, http.client.HTTPException):
            found["answers"].append([port, method, path, 0])
print(json.dumps(found), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def server(attacked_server: Server) -> Server:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    return attacked_server


class Stranger:
    """A process of another user, which tries what it is given and holds what it could open until it is let go."""

    def __init__(self, **options: Any) -> None:
        python = open_python()
        if python is None:
            pytest.skip("no interpreter here that every user may start")
        nothing: dict[str, list[object]] = {
            name: [] for name in ("files", "folders", "sockets", "processes", "ports", "requests")
        }
        self._process = subprocess.Popen(
            [python, "-I", "-c", AS_THE_STRANGER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            user=STRANGER,
            group=STRANGER,
            extra_groups=[],
            cwd="/",
            env={},
        )
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(nothing | options) + "\n")
        self._process.stdin.flush()
        self.found: dict[str, Any] = json.loads(self._process.stdout.readline())

    def __enter__(self) -> dict[str, Any]:
        return self.found

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


def processes(server: Server) -> list[psutil.Process]:
    """The supervisor, every part, and what they have started."""
    top = psutil.Process(int(server.supervisor.pid_file.read_text()))
    return [top, *top.children(recursive=True)]


def listening(server: Server) -> tuple[dict[int, str], list[str]]:
    """The ports of TCP (with the program) and the Unix sockets on which anything of the server listens."""
    ports: dict[int, str] = {}
    inodes: set[str] = set()
    for process in processes(server):
        with suppress(psutil.NoSuchProcess, FileNotFoundError):
            for one in process.net_connections("inet"):
                if one.status == psutil.CONN_LISTEN:
                    ports[one.laddr[1]] = process.name()
            for entry in Path(f"/proc/{process.pid}/fd").iterdir():
                with suppress(FileNotFoundError):
                    inodes.add(str(entry.readlink()))
    rows = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    accepting = [row for row in rows if int(row[3], 16) & 0x10000]
    return ports, sorted({row[7] for row in accepting if len(row) > 7 and f"socket:[{row[6]}]" in inodes})


def below(server: Server) -> tuple[list[str], list[str]]:
    """Files and folders of the server: in its home, where its sockets are, and what its processes hold open."""
    home = server.parts.settings.home
    files: set[str] = set()
    folders: set[str] = set()
    for root in (home, server.parts.places.folder):
        for above, within, names in os.walk(root):
            within[:] = [name for name in within if Path(above, name) != home / "quick"]  # the test put it there
            folders.add(above)
            files |= {str(Path(above, name)) for name in names}
    for process in processes(server):
        with suppress(psutil.NoSuchProcess):
            files |= {one.path for one in process.open_files() if one.path.startswith(("/tmp/", "/dev/shm/", "/run/"))}
    return sorted(files), sorted(folders - {str(home)})


def test_ports(server: Server) -> None:
    """Every port of TCP that anything of the server listens on, asked without a login."""
    settings = server.parts.server
    ports, _ = listening(server)
    proxy = {settings.proxy_port, settings.proxy_s3_port}
    assert set(ports) == {*proxy, settings.s3.port}, f"proxy and S3 alone have ports: {ports}"
    requests = [
        ("GET", "/", ""),
        ("GET", "/server_info", ""),
        ("GET", "/metrics", ""),
        ("GET", "/minio/v2/metrics/cluster", ""),
        ("GET", "/files/previews/a/b/contact_sheet.png", ""),
        ("GET", "/lab-inbox?list-type=2", ""),
        ("PUT", "/lab-inbox/forged.mp4", "x"),
        ("POST", "/graphql", SET.decode()),
        ("POST", "/report_asset_materialization/videos", FORGED.decode()),
    ]
    with Stranger(ports=[("127.0.0.1", port) for port in ports], requests=requests) as found:
        assert [answer for answer in found["answers"] if 200 <= answer[3] < 400] == []
    for path, body in (("/graphql", SET), ("/report_asset_materialization/videos", FORGED), ("/metrics", None)):
        assert in_proxy(server, None, path, body)[0] == 401
    assert in_proxy(server, None, "/envs/operations")[0] == 401
    unchanged = graphql(server.parts.places.of("webserver"), LIMIT)
    assert unchanged == {"instance": {"concurrencyLimit": {"slotCount": 1}}}


def test_sockets(server: Server) -> None:
    """Every Unix socket: Dagster's webservers and gRPC server, Postgres, files, metrics, envs, the supervisor."""
    _, sockets = listening(server)
    assert [path for path in sockets if not path.startswith("/")] == [], "abstract names are for everybody"
    names = {Path(path).name for path in sockets}
    wanted = ("code-location", "webserver", "webserver-viewer", "files", "metrics", "envs", "supervisor")
    assert {f"{part}.sock" for part in wanted} <= {name.split(".sock")[0] + ".sock" for name in names}
    assert ".s.PGSQL.5432" in names
    with Stranger(sockets=[*sockets, *(str(server.parts.places.of(part)) for part in wanted)]) as found:
        assert found["connected"] == []


def test_files(server: Server) -> None:
    """Every file and folder of the home, of the sockets, and what is held open elsewhere: read, written, locked."""
    files, folders = below(server)
    assert str(server.parts.env_file.path) in files
    with Stranger(files=files, folders=folders) as found:
        assert found["opened"] == []
        assert found["written"] == []
        assert found["listed"] == []
        assert found["held"] == []


def test_processes(server: Server) -> None:
    """Variables, memory and open files of every process, signals to it, and secrets among its arguments."""
    running = processes(server)
    assert len(running) > 10
    with Stranger(processes=[process.pid for process in running]) as found:
        assert found["environments"] == []
    secrets = server.parts.server.secrets
    for process in running:
        with suppress(psutil.NoSuchProcess):
            assert [word for word in process.cmdline() for secret in secrets if secret in word] == []


def test_postgres_without_a_password(server: Server) -> None:
    """Postgres, also by somebody who reached its socket: no role without its password, the superuser not at all."""
    at, settings = server.parts.server.postgres, server.parts.server
    places = [{"host": at.host}, {"host": "127.0.0.1"}, {"host": "/var/run/postgresql"}, {"host": "/tmp"}]
    users = ["egoworld", "postgres", "root", *(settings.postgres_as(role).user for role in settings.postgres_passwords)]
    for user in users:
        for password in ("", user, "postgres", settings.postgres_as("probe").password[::-1]):
            for database in (at.database, "postgres", "template1"):
                for place in places:
                    with pytest.raises(psycopg2.OperationalError):
                        psycopg2.connect(
                            user=user, password=password, dbname=database, port=5432, connect_timeout=2, **place
                        )
    with closing(at.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT rolname FROM pg_roles WHERE rolcanlogin AND (rolsuper OR rolcreaterole OR rolbypassrls)")
        assert cursor.fetchall() == [("egoworld",)], "who made the cluster, and cannot log in"
        cursor.execute("SELECT setting FROM pg_settings WHERE name = 'listen_addresses'")
        assert cursor.fetchall() == [("",)]


DENIED = {
    "viewer": ["DELETE FROM runs", 'UPDATE concurrency_limits SET "limit" = 9', "DELETE FROM kvs"],
    "metrics": ["SELECT * FROM event_logs", "DELETE FROM runs", "SELECT * FROM env_operations"],
    "envs": ["SELECT * FROM runs", "DELETE FROM env_operations", "UPDATE env_operations SET actor = 'nobody'"],
    "runs": ["DELETE FROM daemon_heartbeats", "UPDATE instigators SET status = 'x'", "SELECT * FROM env_operations"],
    "dagster": ["DELETE FROM env_operations", "DROP TABLE runs", "CREATE TABLE mine (id int)"],
    "backup": ["DELETE FROM runs", "DELETE FROM kvs", "CREATE TABLE mine (id int)"],
    "probe": ["SELECT * FROM runs", "DELETE FROM server_probe", "CREATE TABLE mine (id int)"],
    "owner": ["CREATE ROLE mine", "COPY runs TO PROGRAM 'id'", "SELECT pg_read_file('PG_VERSION')"],
}


@pytest.mark.parametrize("role", DENIED)
def test_a_role_beyond_its_part(server: Server, role: Any) -> None:
    """A part's login to Postgres, used for what is not that part's business."""
    with closing(server.parts.server.postgres_as(role).connect()) as connection:
        connection.autocommit = True
        for statement in DENIED[role]:
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                connection.cursor().execute(statement)


def test_locks_are_held_by_a_stranger_while_we_work(server: Server) -> None:
    """Every lock file is held by another user as far as the system lets him, while we start, look and back up."""
    files, _ = below(server)
    locks = [path for path in files if path.endswith(".lock") or "/.locks/" in path]
    assert locks
    with Stranger(files=locks) as found:
        assert found["held"] == []
        server.up()
        done = in_env(server, "egoworld", "status")
        assert done.returncode == 0, done.stderr


@pytest.fixture
def open_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder of ours in which somebody else has put files: what /tmp is, and a home that was opened for a group."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a file to another user")
    with temporary_home() as home:
        folder = home / "shared"
        folder.mkdir()
        folder.chmod(0o1777)
        yield folder


def take(kind: str, folder: Path, name: str) -> None:
    """Hold a lock of ours in a folder."""
    match kind:
        case "locked":
            with locked(folder / name, 1):
                pass
        case "leases":
            Leases(folder / name).close()
        case "gpu":
            with lease(folder, [Device(0, 0)]):
                pass


@pytest.mark.parametrize("planted", ["file", "link", "pipe"])
@pytest.mark.parametrize(("kind", "name"), [("locked", "a.lock"), ("leases", "a.lock"), ("gpu", "gpu0.lock")])
def test_a_planted_lock(open_folder: Path, kind: str, name: str, planted: str) -> None:
    """A lock file that another user put there beforehand: a file of his, a link to one, a pipe."""
    path = open_folder / name
    if planted == "link":
        path.symlink_to("/etc/passwd")
    elif planted == "pipe":
        os.mkfifo(path)
    else:
        path.touch()
    os.lchown(path, STRANGER, STRANGER)
    with pytest.raises(BadConfiguration, match="remove"):
        take(kind, open_folder, name)


@pytest.mark.parametrize("kind", ["locked", "leases", "gpu"])
def test_a_new_lock(open_folder: Path, kind: str) -> None:
    """A lock file that we made in a folder that everybody may enter, locked by another user meanwhile."""
    take(kind, open_folder, "gpu0.lock")
    path = str(open_folder / "gpu0.lock")
    with Stranger(files=[path]) as found:
        assert (found["opened"], found["held"]) == ([], [])
        take(kind, open_folder, "gpu0.lock")


def test_the_lock_of_the_cache(open_folder: Path) -> None:
    """The lock of uv's cache, which uv itself makes for everybody: held by another user while envs are built."""
    uv = Uv(checkout_uv(PROJECT).program, open_folder / "cache")
    uv.cache.mkdir()
    (uv.cache / ".lock").touch()
    (uv.cache / ".lock").chmod(0o666)
    uv.run(["cache", "dir"], open_folder)
    with Stranger(files=[str(uv.cache / ".lock")]) as found:
        assert found["held"] == []
        uv.run(["cache", "prune"], open_folder)


def test_a_runtime_folder_made_beforehand(open_folder: Path) -> None:
    """The folder of the sockets of a home with a long path, which another user made under /tmp before us."""
    state = open_folder / ("x" * 60) / ("y" * 60) / "production"
    places = Places(state)
    assert places.folder.parent == Path("/tmp")
    try:
        places.folder.mkdir(mode=0o777)
        os.chown(places.folder, STRANGER, STRANGER)
        with pytest.raises(BadConfiguration, match="belongs to user 54321"):
            places.make()
        places.folder.rmdir()
        places.folder.symlink_to(open_folder)
        with pytest.raises(BadConfiguration, match="is a link"):
            places.make()
        places.folder.unlink()
        places.make()
        assert len(os.fsencode(places.of("webserver-viewer"))) < 108
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(places.of("webserver-viewer")))
    finally:
        subprocess.run(["rm", "-rf", places.folder], check=True)
