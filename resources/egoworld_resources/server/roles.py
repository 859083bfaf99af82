"""Who may do what in the server's database: one role a part, none of them a superuser, each with a password of its own.

The superuser that made the cluster has no password and no way in: what only it may do is done by Postgres in its
single-user mode, while nothing else runs. Tables belong to the role ``owner``, whose password no part is given.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Final, Literal, get_args

from psycopg2 import sql

from egoworld_resources.server.postgres import PostgresAddress

PostgresRole = Literal["owner", "dagster", "runs", "viewer", "metrics", "envs", "backup", "probe"]
"""owner: makes and migrates tables, restores. dagster: daemon, the operator's webserver, commands of the operator.
runs: the code location and its runs. viewer: the webserver that changes nothing. metrics: counts runs and
artifacts. envs: adds to the audit of the environment service. backup: reads all. probe: writes and reads one row, for
`make ps`."""
POSTGRES_ROLES: Final[tuple[PostgresRole, ...]] = get_args(PostgresRole)

PROBE = "server_probe"
AUDIT, AUDIT_VERSION = "env_operations", "env_operations_version"
SCHEDULING = frozenset(
    {"alembic_version", "bulk_actions", "daemon_heartbeats", "instigators", "job_ticks", "jobs", "secondary_indexes"}
)
"""What the daemon and the webserver write and no run does: backfills, heartbeats, which sensors are on, ticks."""
COUNTED = frozenset({"alembic_version", "run_tags", "runs", "secondary_indexes"})
"""What the metrics are read from."""
INDEX = "store_"
"""How the names of the tables of the index of what is made begin."""
CACHED = "asset_keys"
"""Dagster keeps what it has counted of an asset's partitions in a column of this table, also when a viewer asked."""

OWNED = (
    "DO $do$ DECLARE one record; BEGIN "
    "FOR one IN SELECT c.oid::regclass AS name FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace "
    "AND c.relkind IN ('r', 'p', 'v', 'm') AND c.relowner <> 'egoworld_owner'::regrole LOOP "
    "EXECUTE format('ALTER TABLE %s OWNER TO egoworld_owner', one.name); END LOOP; "
    "FOR one IN SELECT p.oid::regprocedure AS name FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace "
    "AND p.proowner <> 'egoworld_owner'::regrole LOOP "
    "EXECUTE format('ALTER FUNCTION %s OWNER TO egoworld_owner', one.name); END LOOP; END $do$"
)
"""Gives the owner what an earlier version of egoworld made as the superuser; sequences go with their tables."""


def name_of(role: PostgresRole) -> str:
    """The name of a role in Postgres."""
    return f"egoworld_{role}"


def hba(database: str) -> str:
    """Who may log in where: the roles, to the one database, with a password. The superuser nowhere."""
    roles = ",".join(name_of(role) for role in POSTGRES_ROLES)
    return f"local {database} {roles} scram-sha-256\nlocal all all reject\n"


def settled(database: str, passwords: Mapping[PostgresRole, str]) -> Iterator[str]:
    """What the superuser is to do in ``database``, a statement a line, any number of times."""
    yield "SET log_min_error_statement = panic"
    yield "DO $do$ BEGIN EXECUTE format('ALTER ROLE %I PASSWORD NULL', current_user); END $do$"
    for role in POSTGRES_ROLES:
        name, password = name_of(role), passwords[role].replace("'", "''")
        found = f"SELECT FROM pg_roles WHERE rolname = '{name}'"
        yield f"DO $do$ BEGIN IF NOT EXISTS ({found}) THEN CREATE ROLE {name}; END IF; END $do$"
        rights = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"
        yield f"ALTER ROLE {name} {rights} PASSWORD '{password}'"
    names = ", ".join(name_of(role) for role in POSTGRES_ROLES)
    yield f"ALTER DATABASE {database} OWNER TO egoworld_owner"
    yield f"REVOKE ALL ON DATABASE {database} FROM PUBLIC"
    yield f"GRANT CONNECT ON DATABASE {database} TO {names}"
    yield "REVOKE CREATE ON SCHEMA public FROM PUBLIC"
    yield "GRANT ALL ON SCHEMA public TO egoworld_owner"
    yield "GRANT pg_read_all_data TO egoworld_backup"
    yield f"CREATE TABLE IF NOT EXISTS public.{PROBE} (part text PRIMARY KEY, word text NOT NULL)"
    yield OWNED
    yield f"GRANT SELECT, INSERT, UPDATE ON public.{PROBE} TO egoworld_probe"


def tables(owner: PostgresAddress) -> list[str]:
    """The tables that there are."""
    with closing(owner.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename")
        return [str(name) for (name,) in cursor.fetchall()]


def identity(owner: PostgresAddress) -> str:
    """Another one for every database that was ever made, and whenever a table was made again, as by a restore."""
    made = "SELECT string_agg(oid::text, ',' ORDER BY oid) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
    with closing(owner.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT system_identifier || ' ' || ({made} AND relkind = 'r') FROM pg_control_system()")
        return str((cursor.fetchone() or ("",))[0])


def grant(owner: PostgresAddress) -> None:
    """Give every role its rights on the tables that there are, and no others; in one transaction."""
    there = tables(owner)
    with closing(owner.connect()) as connection, connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('egoworld grants'))")
        for table in there:
            name = sql.Identifier(table)
            everybody = sql.SQL(", ").join(sql.Identifier(name_of(role)) for role in POSTGRES_ROLES if role != "owner")
            cursor.execute(sql.SQL("REVOKE ALL ON {} FROM PUBLIC, {}").format(name, everybody))
            for role, rights in rights_on(table).items():
                given = sql.SQL("GRANT {} ON {} TO {}")  # rights are ours, not what anybody sends
                cursor.execute(given.format(sql.SQL(rights), name, sql.Identifier(name_of(role))))
        cursor.execute(
            "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO egoworld_dagster, egoworld_runs, egoworld_envs"
        )


def rights_on(table: str) -> dict[PostgresRole, str]:
    """What each role may do with a table; who is not named may do nothing."""
    if table == PROBE:
        return {"probe": "SELECT, INSERT, UPDATE"}
    if table == AUDIT:
        return {"envs": "SELECT, INSERT"}
    if table == AUDIT_VERSION:
        return {"envs": "SELECT"}
    writes = "SELECT, INSERT, UPDATE, DELETE"
    if table.startswith(INDEX):
        return {"dagster": writes, "runs": writes, "metrics": "SELECT"}
    rights: dict[PostgresRole, str] = {"dagster": writes, "runs": writes, "viewer": "SELECT"}
    if table in SCHEDULING:
        rights["runs"] = "SELECT"
    if table in COUNTED:
        rights["metrics"] = "SELECT"
    if table == CACHED:
        rights["viewer"] = "SELECT, UPDATE (cached_status_data)"
    return rights
