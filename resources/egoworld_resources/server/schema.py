"""The tables of a server's database: made and migrated by their owner, before the parts that work with them start."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from egoworld_resources.errors import Terminal
from egoworld_resources.leases.locks import locked, write_private
from egoworld_resources.server import roles
from egoworld_resources.server.dagster_parts import program
from egoworld_resources.server.postgres import PostgresAddress
from egoworld_resources.store.noting import LAYOUT

log = logging.getLogger(__name__)


class SchemaFailed(Terminal):
    """The tables could not be made or migrated."""


def ensure(owner: PostgresAddress, mark: Path) -> None:
    """Make the tables that are missing, and give every role its rights; quick when both are so already.

    mark: a file that remembers for which tables and rights that was done. Raises AuditFailed.
    """
    if _done(mark) == _digest(owner):
        return
    with locked(mark.with_name(f".{mark.name}.lock")):
        make(owner)
        roles.grant(owner)
        write_private(mark, _digest(owner))
        log.info("database: %d tables, each role has its rights", len(roles.tables(owner)))


def make(owner: PostgresAddress) -> None:
    """Make the tables of Dagster, the audit and the index where there are none. Raises AuditFailed, IndexAway."""
    from dagster_postgres import DagsterPostgresStorage

    from egoworld_resources.store.index import Index
    from egoworld_resources.workflow_envs.audit import Operations

    logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells of every plugin
    DagsterPostgresStorage(owner.url.replace("postgresql:", "postgresql+psycopg2:"), should_autocreate_tables=True)
    audit = Operations(owner.url)
    audit.init()
    audit.close()
    Index(url=owner.url).prepare()


def migrate(owner: PostgresAddress, mark: Path, environment: Mapping[str, str]) -> None:
    """Bring the tables of an earlier version of Dagster up to this one. Raises SchemaFailed, AuditFailed.

    environment: of a process that works as Dagster does here; it is given the owner's login.
    """
    done = subprocess.run(
        [program("dagster"), "instance", "migrate"],
        env={**environment, **owner.variables},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SchemaFailed(f"dagster instance migrate failed; it says:\n{(done.stdout + done.stderr)[-3000:]}")
    mark.unlink(missing_ok=True)
    ensure(owner, mark)


def _done(mark: Path) -> str:
    return mark.read_text(encoding="ascii") if mark.is_file() else ""


def _digest(owner: PostgresAddress) -> str:
    """Changes with the tables that there are or are to be, what each role may do with them, and their cluster."""
    rights = [f"{name} {sorted(roles.rights_on(name).items())}" for name in roles.tables(owner)]
    return sha256("\n".join([roles.identity(owner), f"index {LAYOUT}", *rights]).encode()).hexdigest()
