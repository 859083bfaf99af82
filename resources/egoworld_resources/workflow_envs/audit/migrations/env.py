"""What alembic runs: the revisions, on the connection and in the transaction of the caller."""

from __future__ import annotations

from alembic import context

from egoworld_resources.workflow_envs.audit.table import METADATA, VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"], target_metadata=METADATA, version_table=VERSION_TABLE
)
with context.begin_transaction():
    context.run_migrations()
