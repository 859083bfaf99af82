"""The audit of the env fabric against a real Postgres and real files of SQLite: the same promises on both."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import inspect
from sqlalchemy.exc import DatabaseError

import made_old_audit
from egoworld_resources.server.postgres import PostgresAddress
from egoworld_resources.workflow_envs.actors import Actor
from egoworld_resources.workflow_envs.audit import Operations
from egoworld_resources.workflow_envs.audit.table import NAME, VERSION_TABLE
from egoworld_resources.workflow_envs.errors import AuditFailed
from made_operations import ANN, PARTS, Database, begun, told, url_of

HEAD = """
import sys
from egoworld_resources.workflow_envs.actors import Actor
from egoworld_resources.workflow_envs.audit import Operations
operations = Operations(sys.argv[1], statement_s=60)  # other tests may use the machine too
"""


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty database of each kind."""
    if request.param == "sqlite":
        yield Database(f"sqlite:///{tmp_path / 'audit folder' / 'operations.sqlite'}")
        return
    at: PostgresAddress = request.getfixturevalue("postgres_server")
    name = f"audit_{secrets.token_hex(6)}"
    told(at, f"CREATE DATABASE {name}")
    yield Database(url_of(replace(at, database=name)), at.password)
    told(at, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def operations(database: Database) -> Iterator[Operations]:
    """The audit in that database, with its table."""
    made = Operations(database.url, statement_s=60)
    made.init()
    yield made
    made.close()


def process(database: Database, program: str) -> subprocess.Popen[str]:
    """Our code in an interpreter of its own."""
    command = [sys.executable, "-c", HEAD + program, database.url]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended_well(*processes: subprocess.Popen[str]) -> None:
    for one in processes:
        outputs = one.communicate(timeout=120)
        assert one.returncode == 0, outputs


def test_an_operation_is_found_as_it_was_written(operations: Operations) -> None:
    began = begun(operations)
    assert operations.unfinished() == [began]
    (open_,) = operations.history()
    assert (open_.ended_at, open_.result, open_.seconds, open_.lock_after) == (None, "", None, "")

    operations.end(began, "ok", message="2 packages", lock_after="sha256:after", seconds=1.5)
    assert operations.unfinished() == []
    (done,) = operations.history()
    assert (done.id, done.action, done.folder, done.parts) == (began.id, "create", "w1_n1_v1", PARTS)
    assert (done.actor, done.origin, done.details) == ("ann", "http 127.0.0.1:5312", {"packages": ["numpy>=2"]})
    assert (done.result, done.message, done.seconds) == ("ok", "2 packages", 1.5)
    assert (done.lock_before, done.lock_after) == ("sha256:before", "sha256:after")
    assert done.started_at == began.started_at
    assert done.ended_at is not None
    assert done.ended_at >= done.started_at
    assert operations.last_used() == {"w1_n1_v1": done.ended_at}


def test_the_start_is_committed_before_begin_returns(database: Database, operations: Operations) -> None:
    began = begun(operations)
    ((operation, event),) = database.raw(f"SELECT operation, event FROM {NAME}")
    assert (str(operation).replace("-", ""), event) == (began.id, "start")


def test_text_that_a_database_refuses_is_written_readably(operations: Operations) -> None:
    began = operations.begin("run", "f", PARTS, Actor("a\0b", "cli"), {"name": "x\0y\ud800"})
    operations.end(began, "UV_EXECUTION_ERROR", message="\udcff" + "long " * 10_000)
    (done,) = operations.history()
    assert (done.actor, done.details) == ("a\\x00b", {"name": "x\0y\ud800"})
    assert done.message.startswith("\\udcfflong long")
    assert done.message.endswith("(33617 more characters)")


def test_details_that_are_not_json_are_refused(operations: Operations) -> None:
    with pytest.raises(AuditFailed, match="PosixPath is not JSON serializable"):
        operations.begin("run", "f", PARTS, ANN, {"folder": Path("f")})
    assert operations.history() == []


def test_an_operation_ends_once(operations: Operations) -> None:
    began = begun(operations)
    operations.end(began, "ok")
    with pytest.raises(AuditFailed, match="ended twice"):
        operations.end(began, "failed")
    assert [done.result for done in operations.history()] == ["ok"]


def shape(database: Database) -> dict[str, object]:
    """Everything of the audit's tables that a database tells."""
    engine = database.engine()
    found = inspect(engine)
    known = {
        table: [
            {column["name"]: (str(column["type"]), column["nullable"]) for column in found.get_columns(table)},
            found.get_pk_constraint(table),
            found.get_unique_constraints(table),
            found.get_check_constraints(table),
            sorted(
                (one["name"] or "", one["column_names"], [str(where) for where in one["dialect_options"].values()])
                for one in found.get_indexes(table)
            ),
        ]
        for table in (NAME, VERSION_TABLE)
    }
    engine.dispose()
    asked = "name FROM sqlite_master" if engine.dialect.name == "sqlite" else "tgname FROM pg_trigger"
    filtered = " WHERE type = 'trigger'" if engine.dialect.name == "sqlite" else " WHERE NOT tgisinternal"
    return {**known, "triggers": sorted(database.raw(f"SELECT {asked}{filtered}"))}


def test_an_audit_that_alembic_made_is_taken_up(database: Database) -> None:
    """As it stands, rows and all; and what is made now is the same."""
    of_sqlite = database.url.startswith("sqlite")
    if of_sqlite:
        Path(database.url.removeprefix("sqlite:///")).parent.mkdir()
    database.raw(*(made_old_audit.SQLITE if of_sqlite else made_old_audit.POSTGRES))
    known = shape(database)
    operations = Operations(database.url, statement_s=60)
    operations.init()
    assert shape(database) == known
    operations.end(begun(operations), "ok")
    operations.init()
    assert len(operations.history()) == 1
    operations.close()
    away = [f"DROP TABLE {NAME}", f"DROP TABLE {VERSION_TABLE}"]
    database.raw(*away, *([] if of_sqlite else ["DROP FUNCTION env_operations_refuse"]))
    operations.init()
    assert shape(database) == known
    assert operations.history() == []
    operations.close()


def test_it_shares_a_database_with_another_user_of_alembic(database: Database) -> None:
    Operations(database.url).init()
    table = "CREATE TABLE alembic_version (version_num VARCHAR(32))"
    database.raw(table, "INSERT INTO alembic_version VALUES ('of-dagster')")
    Operations(database.url).init()
    assert database.raw("SELECT version_num FROM alembic_version") == [("of-dagster",)]


def test_servers_that_start_at_once_make_one_table(database: Database) -> None:
    program = "sys.stdin.read(); operations.init(); operations.begin('add', 'f', ('w', 'n', ''), Actor('a', 'b'), {})"
    if database.url.startswith("sqlite"):
        Path(database.url.removeprefix("sqlite:///")).parent.mkdir()
    command = [sys.executable, "-c", HEAD + program, database.url]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for one in started:
        assert one.stdin is not None
        one.stdin.close()
        one.stdin = None
    ended_well(*started)
    assert len(Operations(database.url).unfinished()) == 2
    assert database.raw(f"SELECT count(*) FROM {VERSION_TABLE}") == [(1,)]


def test_threads_of_one_server_may_start_at_once(database: Database) -> None:
    servers = [Operations(database.url) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(Operations.init, servers))
    assert servers[0].history() == []
    for server in servers:
        server.close()


FORBIDDEN = [
    f"UPDATE {NAME} SET result = 'ok'",
    f"UPDATE {NAME} SET actor = 'nobody' WHERE 1 = 0 OR event = 'start'",
    f"DELETE FROM {NAME}",
    f"DELETE FROM {NAME} WHERE event = 'start'",
]
FORBIDDEN_POSTGRES = [
    f"TRUNCATE {NAME}",
    f"INSERT INTO {NAME} OVERRIDING SYSTEM VALUE SELECT * FROM {NAME} ON CONFLICT (id) DO UPDATE SET actor = 'nobody'",
    f"SET session_replication_role = replica; DELETE FROM {NAME}",
]
COLUMNS = "operation, event, at, action, workflow_id, node_id, version_id, folder, origin, details, result, message,"
LOCKS = "lock_before, lock_after"
FORBIDDEN_SQLITE = [
    f"REPLACE INTO {NAME} SELECT * FROM {NAME}",
    f"INSERT OR REPLACE INTO {NAME} ({COLUMNS} {LOCKS}, actor) SELECT {COLUMNS} {LOCKS}, 'nobody' FROM {NAME}",
]


def test_rows_are_only_added(database: Database, operations: Operations) -> None:
    operations.end(begun(operations), "ok")
    before = database.raw(f"SELECT * FROM {NAME} ORDER BY id")
    own = FORBIDDEN_SQLITE if database.url.startswith("sqlite") else FORBIDDEN_POSTGRES
    for statement in FORBIDDEN + own:
        with pytest.raises(DatabaseError, match="env_operations is append-only"):
            database.raw(statement)
    assert database.raw(f"SELECT * FROM {NAME} ORDER BY id") == before


def test_an_end_says_how_it_ended(operations: Operations) -> None:
    with pytest.raises(AuditFailed, match="env_operations_result"):
        operations.end(begun(operations), "")
    assert len(operations.unfinished()) == 1


def test_a_table_that_no_longer_refuses_changes_is_refused(database: Database, operations: Operations) -> None:
    if database.url.startswith("sqlite"):
        database.raw("DROP TRIGGER env_operations_no_delete")
    else:
        database.raw(f"ALTER TABLE {NAME} DISABLE TRIGGER ALL")
    with pytest.raises(AuditFailed, match=r"no longer refuses changes: env_operations_(no_delete|append_only) is gone"):
        Operations(database.url).init()


def test_a_database_of_a_newer_version_is_refused(database: Database, operations: Operations) -> None:
    database.raw(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    with pytest.raises(AuditFailed, match=r"newer version.*9999"):
        Operations(database.url).init()


def test_without_its_table_nothing_begins(database: Database) -> None:
    Operations(database.url).init()
    database.raw(f"DROP TABLE {NAME}")
    operations = Operations(database.url)
    for ask in (partial(begun, operations), operations.history, operations.unfinished, operations.last_used):
        with pytest.raises(AuditFailed, match="has no table env_operations; start the service again"):
            ask()
    with pytest.raises(AuditFailed, match="has no table"):
        operations.init()
    operations.close()


def test_history_comes_in_pages_and_by_key(operations: Operations) -> None:
    begins = [begun(operations, parts=("w", f"n{number % 3}", "")) for number in range(10)]
    for one in begins[:8]:
        operations.end(one, "ok")
    newest_first = [one.id for one in reversed(begins)]

    seen: list[str] = []
    while page := operations.history(limit=4, before=seen[-1] if seen else None):
        assert len(page) <= 4
        seen += [one.id for one in page]
    assert seen == newest_first

    assert [one.id for one in operations.history(parts=("w", "n1", ""))] == newest_first[2::3]
    assert operations.history(parts=("w", "n1", "v")) == []
    assert [one.id for one in operations.history(running=True)] == newest_first[:2]
    assert operations.history(before="no such operation") == operations.history(before="0" * 32) == []
    assert operations.unfinished("w_n0_") == [begins[9]]
    assert operations.unfinished("w_n1_") == []
    assert set(operations.last_used()) == {"w_n0_", "w_n1_", "w_n2_"}


def test_many_threads_and_processes_lose_no_row(database: Database, operations: Operations) -> None:
    program = """
from concurrent.futures import ThreadPoolExecutor
def work(number):
    began = operations.begin("add", f"f{number}", ("w", f"n{number}", ""), Actor("a", "b"), {"number": number})
    operations.end(began, "ok")
with ThreadPoolExecutor(12) as pool:
    list(pool.map(work, range(60)))
"""
    ended_well(*[process(database, program) for _ in range(2)])
    done = operations.history(limit=1000)
    assert sorted(one.details["number"] for one in done) == sorted([*range(60), *range(60)])
    assert {one.result for one in done} == {"ok"}
    assert len({one.id for one in done}) == 120


def test_a_killed_process_leaves_its_start(database: Database, operations: Operations) -> None:
    program = """
began = operations.begin("sync", "f", ("w", "n", ""), Actor("a", "b"), {})
print(began.id, flush=True)
sys.stdin.read()
"""
    command = [sys.executable, "-c", HEAD + program, database.url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as one:
        assert one.stdout is not None
        line = one.stdout.readline().strip()
        one.kill()
    (left,) = operations.unfinished()
    assert (left.id, left.action, left.actor) == (line, "sync", Actor("a", "b"))
    operations.end(left, "interrupted", message="its process died")
    assert operations.unfinished() == []


def test_a_process_forked_from_a_server_has_its_own_connection(database: Database, operations: Operations) -> None:
    program = """
import os
work = lambda: operations.end(operations.begin("add", "f", ("w", "n", ""), Actor("a", "b"), {}), "ok")
work()
children = []
for _ in range(2):
    child = os.fork()
    if not child:
        for _ in range(20): work()
        os._exit(0)
    children.append(child)
for _ in range(20): work()
assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
work()
"""
    ended_well(process(database, program))
    assert len(operations.history(limit=1000)) == 62
    assert operations.unfinished() == []
