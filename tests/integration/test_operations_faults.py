"""Databases of the audit that are gone, full, held, frozen or somewhere else: nothing begins, and it is said."""

from __future__ import annotations

import secrets
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import psutil
import pytest
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import DatabaseError

from egoworld_resources.server.postgres import PostgresAddress
from egoworld_resources.server.tools import Tools
from egoworld_resources.workflow_envs.audit import Operations
from egoworld_resources.workflow_envs.audit.table import NAME, VERSION_TABLE
from egoworld_resources.workflow_envs.errors import AuditFailed
from made_operations import ANN, PARTS, Database, begun, told, url_of
from servers import free_port, let_in, postgres, running, temporary_home


def test_a_file_that_was_deleted_or_replaced_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "operations.sqlite"
    operations = Operations(f"sqlite:///{file}")
    operations.init()
    kept = begun(operations)
    Database(f"sqlite:///{file}").raw("PRAGMA wal_checkpoint(TRUNCATE)")
    away = file.rename(tmp_path / "away.sqlite")
    with pytest.raises(AuditFailed, match="cannot be opened"):
        begun(operations)
    assert not file.exists(), "a new and empty audit would hide that the old one is gone"
    file.touch()
    with pytest.raises(AuditFailed, match="has no table"):
        begun(operations)
    away.replace(file)
    assert operations.unfinished() == [kept]
    operations.close()


@contextmanager
def every_connection(statement: str) -> Iterator[None]:
    """What every connection that is opened says first."""

    def say(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute(statement)

    event.listen(Engine, "connect", say)
    try:
        yield
    finally:
        event.remove(Engine, "connect", say)


def test_a_database_that_is_full_says_so(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'operations.sqlite'}")
    operations = Operations(database.url)
    operations.init()
    ((pages,),) = database.raw("PRAGMA page_count")
    operations.close()
    with every_connection(f"PRAGMA max_page_count = {pages}"):
        operations = Operations(database.url)
        before = operations.history()
        with pytest.raises(AuditFailed, match="has no space left; free some"):
            operations.begin("create", "f", PARTS, ANN, {"packages": ["x" * 100_000]})
        assert operations.history() == before
        operations.close()


def test_a_database_held_by_another_is_not_waited_for_long(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'operations.sqlite'}"
    operations = Operations(url, statement_s=0.2)
    operations.init()
    engine = create_engine(url)
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        with pytest.raises(AuditFailed, match="does not answer in time"):
            begun(operations)
        assert operations.history() == []
    engine.dispose()
    begun(operations)
    operations.close()


def test_a_postgres_that_stops_stands_still_or_returns(tools: Tools) -> None:
    """One server of its own, hurt in each way; nothing is begun meanwhile, and all works again afterwards."""
    with temporary_home() as home:
        at = PostgresAddress(free_port(), "egoworld", secrets.token_hex(16), "egoworld")
        launch = postgres(tools, home / "postgres", at)
        operations, impatient = Operations(url_of(at), statement_s=60), Operations(url_of(at), statement_s=2)
        with pytest.raises(AuditFailed, match="does not answer; start it") as refused:
            operations.init()
        failures = [refused.value]

        serve = partial(running, launch, partial(let_in, at), home / "postgres.log", signal.SIGINT)
        with serve():
            operations.init()
            first = begun(operations)
            impatient.history()
            server = next(one for one in psutil.process_iter() if one.pid == int(pid_line(home / "postgres")))
            still = [server, *server.children()]
            for one in still:
                one.suspend()
            try:
                with pytest.raises(AuditFailed, match="does not answer") as refused:
                    begun(impatient)
                failures.append(refused.value)
            finally:
                for one in still:
                    one.resume()
            assert operations.unfinished() == [first]
            told(at, f"ALTER DATABASE {at.database} SET default_transaction_read_only = on")
            operations.close()
            with pytest.raises(AuditFailed, match="is read-only; make it writable") as refused:
                begun(operations)
            failures.append(refused.value)
            told(at, f"SET transaction_read_only = off; ALTER DATABASE {at.database} RESET ALL")
        for ask in (partial(begun, operations), partial(operations.end, first, "ok"), operations.history):
            with pytest.raises(AuditFailed, match="does not answer; start it") as refused:
                ask()
            failures.append(refused.value)
        with serve():
            assert operations.unfinished() == [first], "the same object works again, and nothing else was begun"
            operations.end(first, "ok")
            operations.close()
            impatient.close()
    assert not [failure for failure in failures if at.password in f"{failure} {failure.details}"]


def pid_line(cluster: Path) -> str:
    """The process that serves a cluster, as Postgres notes it."""
    return (cluster / "postmaster.pid").read_text(encoding="ascii").splitlines()[0]


@pytest.mark.parametrize(
    ("wrong", "advice"),
    [
        ({"password": "s3cret-word"}, "refuses the login"),
        ({"user": "nobody", "password": "s3cret-word"}, "refuses the login"),
        ({"database": "nowhere"}, "does not exist; create it"),
        ({"host": "nowhere.invalid", "password": "s3cret-word"}, "does not answer; start it"),
    ],
    ids=["password", "user", "database", "host"],
)
def test_a_wrong_address_is_listed_without_its_password(
    postgres_server: PostgresAddress, wrong: dict[str, str], advice: str
) -> None:
    at = replace(postgres_server, **wrong)
    operations = Operations(url_of(at))
    with pytest.raises(AuditFailed, match=advice) as refused:
        operations.init()
    assert at.password not in f"{refused.value} {refused.value.details} {refused.value.__cause__} {operations.database}"
    operations.close()


def test_a_user_who_may_only_add_rows_is_enough_once_the_table_is_there(postgres_server: PostgresAddress) -> None:
    at = replace(postgres_server, database=f"audit_{secrets.token_hex(6)}")
    clerk = replace(at, user=f"clerk_{secrets.token_hex(4)}", password=secrets.token_hex(8))
    told(postgres_server, f"CREATE DATABASE {at.database}")
    told(at, f"CREATE ROLE {clerk.user} LOGIN PASSWORD '{clerk.password}'")
    operations = Operations(url_of(clerk))
    with pytest.raises(AuditFailed, match="permission denied"):
        operations.init()
    Operations(url_of(at)).init()
    with pytest.raises(AuditFailed, match="grant SELECT and INSERT"):
        operations.init()
    told(at, f"GRANT SELECT, INSERT ON {NAME}, {VERSION_TABLE} TO {clerk.user}")
    operations.init()
    operations.end(begun(operations), "ok")
    with pytest.raises(DatabaseError, match="must be owner"):
        Database(url_of(clerk)).raw(f"ALTER TABLE {NAME} DISABLE TRIGGER ALL")
    operations.close()
    told(postgres_server, f"DROP DATABASE {at.database} WITH (FORCE)")
    told(postgres_server, f"DROP ROLE {clerk.user}")
