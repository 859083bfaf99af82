"""The audit's tables, made by the first process that opens it and checked by all."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext

from sqlalchemy import Connection, insert, inspect, select, text

from egoworld_resources.leases.locks import locked
from egoworld_resources.workflow_envs.audit.database import Address
from egoworld_resources.workflow_envs.audit.table import METADATA, VERSION, VERSION_TABLE, VERSIONS
from egoworld_resources.workflow_envs.errors import AuditFailed

WAIT_S = 60.0
"""How long one server waits for another that makes them."""
ADVISORY_LOCK = 0x656E765F6F7073  # "env_ops"

TRIGGERS = {
    "postgresql": (
        "SELECT tgname FROM pg_trigger WHERE tgrelid = to_regclass('env_operations') AND tgenabled IN ('A', 'O')",
        {"env_operations_append_only"},
    ),
    "sqlite": (
        "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'env_operations'",
        {"env_operations_no_update", "env_operations_no_delete", "env_operations_no_replace"},
    ),
}


def create(address: Address) -> None:
    """Make the tables where there are none yet, in one transaction; threads and processes do so one at a time.

    Raises AuditFailed when another version made them or the triggers are gone, and the errors of SQLAlchemy and the
    file system.
    """
    with _file_lock(address):
        if address.file:
            _prepare_file(address)
        with address.engine(WAIT_S, pooled=False).begin() as connection:
            if not address.file:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})
            _make(connection, address.shown)
            _check(connection, address.shown)


def _file_lock(address: Address) -> AbstractContextManager[object]:
    if not address.file:
        return nullcontext()
    return locked(address.file.with_name(f"{address.file.name}.lock"), WAIT_S)


def _prepare_file(address: Address) -> None:
    """Make the file when there is none, and let readers and a writer work at once: write-ahead log."""
    assert address.file is not None
    address.file.touch(mode=0o600)
    for file in (address.file, *(address.file.with_name(address.file.name + end) for end in ("-wal", "-shm"))):
        if file.exists() and file.stat().st_uid == os.geteuid():
            file.chmod(0o600)  # an earlier version left it for others to read
    engine = address.engine(WAIT_S)
    with engine.connect() as connection:
        mode = connection.exec_driver_sql("PRAGMA journal_mode = WAL").scalar_one()
    engine.dispose()
    if mode != "wal":
        raise AuditFailed(f"the audit database {address.shown} cannot use a write-ahead log; put it on a local disk")


def _make(connection: Connection, shown: str) -> None:
    if not inspect(connection).has_table(VERSION_TABLE):
        METADATA.create_all(connection)
        connection.execute(insert(VERSIONS).values(version_num=VERSION))
    found = str(connection.execute(select(VERSIONS.c.version_num)).scalar())
    if found != VERSION:
        raise AuditFailed(
            f"the audit database {shown} was made by a newer version of egoworld ({found}); install that version, or "
            "name another database",
            database=shown,
        )


def _check(connection: Connection, shown: str) -> None:
    """The table answers, and still refuses changes."""
    connection.execute(text("SELECT id FROM env_operations LIMIT 1"))
    query, wanted = TRIGGERS[connection.dialect.name]
    missing = wanted - {str(name) for (name,) in connection.execute(text(query))}
    if missing:
        raise AuditFailed(
            f"the audit database {shown} no longer refuses changes: {', '.join(sorted(missing))} is gone or switched "
            "off; find out by whom, then switch it on again or restore the database from a backup",
            database=shown,
        )
