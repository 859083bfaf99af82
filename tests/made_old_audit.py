"""The audit's tables as earlier versions made them, by alembic: what its revision 0001 sent to each database."""

from __future__ import annotations

COLUMNS = """
    event VARCHAR(5) NOT NULL,
    at {moment} NOT NULL,
    action TEXT NOT NULL,
    workflow_id TEXT NOT NULL,
    node_id TEXT NOT NULL,
    version_id TEXT NOT NULL,
    folder TEXT NOT NULL,
    actor TEXT NOT NULL,
    origin TEXT NOT NULL,
    details JSON NOT NULL,
    result TEXT NOT NULL,
    message TEXT NOT NULL,
    seconds FLOAT,
    lock_before TEXT NOT NULL,
    lock_after TEXT NOT NULL,
    CONSTRAINT env_operations_pkey PRIMARY KEY (id),
    CONSTRAINT env_operations_operation_event UNIQUE (operation, event),
    CONSTRAINT env_operations_result CHECK ((event = 'start' AND result = '') OR (event = 'end' AND result <> ''))
"""
INDEXES = (
    "CREATE INDEX env_operations_folder_id ON env_operations (folder, id) WHERE event = 'start'",
    (
        "CREATE INDEX env_operations_parts_id ON env_operations (workflow_id, node_id, version_id, id) "
        "WHERE event = 'start'"
    ),
    "CREATE INDEX env_operations_folder_at ON env_operations (folder, at) WHERE event = 'end'",
)
REVISION = (
    (
        "CREATE TABLE env_operations_version (version_num VARCHAR(32) NOT NULL, "
        "CONSTRAINT env_operations_version_pkc PRIMARY KEY (version_num))"
    ),
    "INSERT INTO env_operations_version (version_num) VALUES ('0001')",
)
POSTGRES = (
    "CREATE TABLE env_operations (id BIGINT GENERATED ALWAYS AS IDENTITY, operation UUID NOT NULL,"
    + COLUMNS.format(moment="TIMESTAMP WITH TIME ZONE")
    + ")",
    *INDEXES,
    """CREATE FUNCTION env_operations_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'env_operations is append-only: % is refused', TG_OP;
    END $$""",
    (
        "CREATE TRIGGER env_operations_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON env_operations "
        "FOR EACH STATEMENT EXECUTE FUNCTION env_operations_refuse()"
    ),
    "ALTER TABLE env_operations ENABLE ALWAYS TRIGGER env_operations_append_only",
    *REVISION,
)
SQLITE = (
    "CREATE TABLE env_operations (id INTEGER NOT NULL, operation CHAR(32) NOT NULL,"
    + COLUMNS.format(moment="DATETIME")
    + ")",
    *INDEXES,
    (
        "CREATE TRIGGER env_operations_no_update BEFORE UPDATE ON env_operations "
        "BEGIN SELECT RAISE(ABORT, 'env_operations is append-only: UPDATE is refused'); END"
    ),
    (
        "CREATE TRIGGER env_operations_no_delete BEFORE DELETE ON env_operations "
        "BEGIN SELECT RAISE(ABORT, 'env_operations is append-only: DELETE is refused'); END"
    ),
    """CREATE TRIGGER env_operations_no_replace BEFORE INSERT ON env_operations
    WHEN EXISTS (SELECT 1 FROM env_operations
        WHERE id = NEW.id OR (operation = NEW.operation AND event = NEW.event))
    BEGIN SELECT RAISE(ABORT, 'env_operations is append-only: the row is there already'); END""",
    *REVISION,
)
