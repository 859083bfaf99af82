"""The table env_operations, its indexes, and the triggers that let rows only be added; and what says it was made."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import (
    DDL,
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    Float,
    Identity,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    event,
    text,
)
from sqlalchemy.types import TypeDecorator

NAME = "env_operations"
VERSION_TABLE = "env_operations_version"
"""Remembers that the audit was made here: one whose table is gone is never begun again unnoticed."""
VERSION = "0001"
"""Of the table; a change of the table is another one, and brings the rows of this one over."""


class Moment(TypeDecorator[float]):
    """Seconds since 1970; timestamptz in Postgres, UTC text in SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        return None if value is None else datetime.fromtimestamp(value, UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> float | None:  # noqa: ARG002
        if value is None:
            return None
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()


METADATA = MetaData()

OPERATIONS = Table(
    NAME,
    METADATA,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), Identity(always=True)),
    Column("operation", Uuid, nullable=False),  # the same in the start row and in the end row
    Column("event", String(5), nullable=False),  # start | end
    Column("at", Moment, nullable=False),
    Column("action", Text, nullable=False),
    Column("workflow_id", Text, nullable=False),
    Column("node_id", Text, nullable=False),
    Column("version_id", Text, nullable=False),
    Column("folder", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("details", JSON, nullable=False),  # not jsonb: that refuses \u0000, which a package's name may hold
    Column("result", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("seconds", Float),
    Column("lock_before", Text, nullable=False),
    Column("lock_after", Text, nullable=False),
    PrimaryKeyConstraint("id", name="env_operations_pkey"),
    UniqueConstraint("operation", "event", name="env_operations_operation_event"),
    CheckConstraint(
        "(event = 'start' AND result = '') OR (event = 'end' AND result <> '')", name="env_operations_result"
    ),
)
VERSIONS = Table(
    VERSION_TABLE,
    METADATA,
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="env_operations_version_pkc"),
)

POSTGRES = (
    """
    CREATE FUNCTION env_operations_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'env_operations is append-only: % is refused', TG_OP;
    END $$
    """,
    """
    CREATE TRIGGER env_operations_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON env_operations
    FOR EACH STATEMENT EXECUTE FUNCTION env_operations_refuse()
    """,
    "ALTER TABLE env_operations ENABLE ALWAYS TRIGGER env_operations_append_only",
)
SQLITE = (
    """
    CREATE TRIGGER env_operations_no_update BEFORE UPDATE ON env_operations
    BEGIN SELECT RAISE(ABORT, 'env_operations is append-only: UPDATE is refused'); END
    """,
    """
    CREATE TRIGGER env_operations_no_delete BEFORE DELETE ON env_operations
    BEGIN SELECT RAISE(ABORT, 'env_operations is append-only: DELETE is refused'); END
    """,
    # INSERT OR REPLACE deletes the old row without asking the trigger above.
    """
    CREATE TRIGGER env_operations_no_replace BEFORE INSERT ON env_operations
    WHEN EXISTS (
        SELECT 1 FROM env_operations
        WHERE id = NEW.id OR (operation = NEW.operation AND event = NEW.event)
    )
    BEGIN SELECT RAISE(ABORT, 'env_operations is append-only: the row is there already'); END
    """,
)


def _index(name: str, row: str, *columns: str) -> None:
    rows = text(f"event = '{row}'")
    Index(name, *(OPERATIONS.c[column] for column in columns), postgresql_where=rows, sqlite_where=rows)


_index("env_operations_folder_id", "start", "folder", "id")
_index("env_operations_parts_id", "start", "workflow_id", "node_id", "version_id", "id")
_index("env_operations_folder_at", "end", "folder", "at")
for dialect, statements in (("postgresql", POSTGRES), ("sqlite", SQLITE)):
    for statement in statements:
        made = DDL(statement.replace("%", "%%")).execute_if(dialect=dialect)
        event.listen(OPERATIONS, "after_create", made)
