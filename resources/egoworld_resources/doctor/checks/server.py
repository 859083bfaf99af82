"""The server's .env and its Postgres."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import closing

import psycopg2

from egoworld_resources.doctor import server
from egoworld_resources.doctor.finding import Finding, Subject, check, fault, not_needed, ok, warning
from egoworld_resources.errors import BadConfiguration

NONE = "no server was set up here (`make up` does it)"
TABLES = ("runs", "event_logs", "job_ticks")
"""One of each of Dagster's storages: runs, events, schedules."""
BUSY = 0.8
"""Share of the connections from which there is a warning."""


@check("server")
def env_file(subject: Subject) -> Iterator[Finding]:
    """The .env holds every secret: nobody else may read it; and what it says is right."""
    file = server.env_file(subject)
    if file is None:
        yield not_needed(".env", NONE)
        return
    mode = stat.S_IMODE(file.path.stat().st_mode)
    if mode & 0o077:
        yield fault(".env", f"{file.path} has mode {mode:04o}: others may read every secret", f"chmod 600 {file.path}")
    else:
        yield ok(".env", f"{file.path} has mode {mode:04o}")
    try:
        file.load()
    except BadConfiguration as error:
        yield fault("settings", str(error), f"correct {file.path}, then make up")
    else:
        yield ok("settings", "every variable is known and has a value of its kind")


@check("Postgres")
def postgres(subject: Subject) -> Iterator[Finding]:
    """It answers, holds Dagster's tables, and has connections left."""
    settings = server.settings(subject)
    if settings is None:
        yield not_needed("server", NONE if server.env_file(subject) is None else "its .env is wrong")
        return
    at = settings.postgres_as("backup")  # who may read all and change nothing
    try:
        connection = at.connect(subject.patience_s)
    except psycopg2.Error as error:
        say = fault if server.in_force(subject) else warning
        found = f"{at.host}:{at.port} does not answer: {' '.join(str(error).split())}"
        yield say("server", found, "make ps shows what runs, make up starts it")
        return
    with closing(connection), connection.cursor() as cursor:
        version = connection.server_version
        yield ok("server", f"PostgreSQL {version // 10000}.{version % 10000} at {at.host}:{at.port}")
        cursor.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
        there = {str(name) for (name,) in cursor.fetchall()}
        missing = [name for name in TABLES if name not in there]
        if missing:
            found = f"database {at.database} lacks Dagster's tables {', '.join(missing)}"
            yield warning("schema", found, "Dagster makes them when it first starts: make up")
        else:
            cursor.execute("SELECT version_num FROM alembic_version")
            (revision,) = cursor.fetchone() or ("none",)
            yield ok("schema", f"Dagster's tables of revision {revision}")
        cursor.execute("SELECT count(*), current_setting('max_connections')::int FROM pg_stat_activity")
        used, most = cursor.fetchone() or (0, 1)
        found = f"{used} of {most} connections in use"
        if used > BUSY * most:
            yield warning(
                "connections", found, "let fewer runs at once: max_concurrent_runs in infra/dagster.production.yaml"
            )
        else:
            yield ok("connections", found)
