"""The table, its indexes, and the triggers that let rows only be added.

There is no downgrade: an audit is never undone.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

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


def upgrade() -> None:
    """Make all of it."""
    op.create_table(
        "env_operations",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), sa.Identity(always=True), nullable=False),
        sa.Column("operation", sa.Uuid(), nullable=False),
        sa.Column("event", sa.String(5), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("action", "workflow_id", "node_id", "version_id")),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("folder", "actor", "origin")),
        sa.Column("details", sa.JSON(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("result", "message")),
        sa.Column("seconds", sa.Float(), nullable=True),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("lock_before", "lock_after")),
        sa.PrimaryKeyConstraint("id", name="env_operations_pkey"),
        sa.UniqueConstraint("operation", "event", name="env_operations_operation_event"),
        sa.CheckConstraint(
            "(event = 'start' AND result = '') OR (event = 'end' AND result <> '')", name="env_operations_result"
        ),
    )
    _index("env_operations_folder_id", "start", "folder", "id")
    _index("env_operations_parts_id", "start", "workflow_id", "node_id", "version_id", "id")
    _index("env_operations_folder_at", "end", "folder", "at")
    for statement in SQLITE if op.get_bind().dialect.name == "sqlite" else POSTGRES:
        op.execute(sa.DDL(statement.replace("%", "%%")))


def _index(name: str, event: str, *columns: str) -> None:
    rows = sa.text(f"event = '{event}'")
    op.create_index(name, "env_operations", list(columns), postgresql_where=rows, sqlite_where=rows)
