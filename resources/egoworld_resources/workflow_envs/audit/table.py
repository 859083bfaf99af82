"""The table env_operations as queries see it; the migrations make it, with its indexes and triggers."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import JSON, BigInteger, Column, DateTime, Dialect, Float, Integer, MetaData, String, Table, Text, Uuid
from sqlalchemy.types import TypeDecorator

NAME = "env_operations"
VERSION_TABLE = "env_operations_version"
"""Where alembic notes the revision: Dagster's alembic_version may be in the same database."""


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
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
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
)
