"""The database of a server as one file and back, by the programs of Postgres itself: pg_dump and pg_restore."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import psycopg2
from psycopg2 import sql

from egoworld_resources.errors import Terminal
from egoworld_resources.server.launch import Launch
from egoworld_resources.server.postgres import PostgresAddress

TABLES = (
    "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'server_probe' "
    "AND NOT starts_with(tablename, 'store_') ORDER BY tablename"
)
"""All but the one that `make ps` writes into, and the index of what is made, which is made again from the manifests."""
TELLING = ("runs", "dynamic_partitions")
"""A database without rows in these holds nothing of Dagster that anybody would miss."""


class DumpFailed(Terminal):
    """Postgres' own program could not write or read a dump."""


def dump(at: PostgresAddress, programs: Path, file: Path) -> dict[str, int]:
    """Write the database to ``file`` as it is in one moment, while others go on; returns the rows of each table then.

    Raises DumpFailed.
    """
    with closing(connected(at)) as connection:
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_export_snapshot()")
            snapshot = str((cursor.fetchone() or ("",))[0])
        rows = counted(connection)
        words = ("--format=custom", "--no-owner", "--no-privileges", f"--snapshot={snapshot}", f"--file={file}")
        words += ("--exclude-table=public.store_*",)
        _run(at, programs / "pg_dump", words, file.parent)
    return rows


def load(at: PostgresAddress, programs: Path, file: Path) -> dict[str, int]:
    """Put a dump in the place of what the database holds, all of it or nothing; returns the rows of each table."""
    words = ("--clean", "--if-exists", "--no-owner", "--no-privileges", "--single-transaction", "--exit-on-error")
    _run(at, programs / "pg_restore", (*words, f"--dbname={at.database}", str(file)), file.parent)
    with closing(connected(at)) as connection:
        return counted(connection)


def holds_something(at: PostgresAddress) -> bool:
    """Whether the database knows of runs or partitions."""
    with closing(connected(at)) as connection:
        rows = counted(connection)
    return any(rows.get(table) for table in TELLING)


def connected(at: PostgresAddress) -> psycopg2.extensions.connection:
    """A connection. Raises DumpFailed."""
    try:
        return at.connect()
    except psycopg2.Error as error:
        raise DumpFailed(f"Postgres at {at.host}:{at.port} does not let us in: {error}".strip()) from error


def counted(connection: psycopg2.extensions.connection) -> dict[str, int]:
    """Rows by table."""
    with connection.cursor() as cursor:
        cursor.execute(TABLES)
        names = [str(row[0]) for row in cursor.fetchall()]
        rows: dict[str, int] = {}
        for name in names:
            cursor.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(name)))
            rows[name] = int((cursor.fetchone() or (0,))[0])
    return rows


def _run(at: PostgresAddress, program: Path, words: tuple[str, ...], folder: Path) -> None:
    where = ("--host", at.host, "--port", str(at.port), "--username", at.user, "--no-password")
    database = ("--dbname", at.database) if program.name == "pg_dump" else ()
    done = Launch((str(program), *where, *database, *words), {"PGPASSWORD": at.password}).run(folder)
    if done.returncode != 0:
        raise DumpFailed(f"{program.name} of {at.host}:{at.port}/{at.database} failed; it says:\n{done.stderr[-3000:]}")
