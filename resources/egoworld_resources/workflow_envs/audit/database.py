"""The audit's database by its URL: PostgreSQL or a file of SQLite, and connections to it that do not wait long."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote
from weakref import WeakSet

from sqlalchemy import URL, Engine, NullPool, Pool, QueuePool, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DisconnectionError

from egoworld_resources.programs.redaction import learn
from egoworld_resources.workflow_envs.audit.deadline import patient
from egoworld_resources.workflow_envs.errors import AuditFailed

CONNECT_S = 3
STATEMENT_S = 5.0
GRACE = 1.6
"""A silent connection is cut after this multiple of the server's own timeout."""
MOST, KEPT = 20, 5
EXPECTED = "expected is postgresql://user:password@host:5432/database or sqlite:////folder/file.db"


@dataclass(frozen=True)
class Address:
    """Where the audit is stored. file: of SQLite; shown: the URL without its password, for messages."""

    url: URL
    file: Path | None
    shown: str

    @classmethod
    def of(cls, text: str) -> Address:
        """Read a URL; raises AuditFailed, which never quotes it."""
        try:
            url = make_url(text)
        except (ArgumentError, ValueError):
            raise AuditFailed(f"DATABASE_URL is no URL of a database; {EXPECTED}") from None
        if url.drivername in ("sqlite", "sqlite+pysqlite"):
            if url.database in (None, "", ":memory:") or url.query:
                raise AuditFailed("DATABASE_URL names no file, and an audit must outlive its process; " + EXPECTED)
            file = Path(str(url.database))
            if not file.is_absolute():
                raise AuditFailed(f"DATABASE_URL names {file} below whatever folder a command starts in; {EXPECTED}")
            return cls(url, file, str(file))
        if url.drivername not in ("postgres", "postgresql", "postgresql+psycopg2"):
            raise AuditFailed(f"DATABASE_URL names {url.drivername}; {EXPECTED}")
        if any("@" in part for part in (url.host or "", url.database or "", url.username or "")):
            raise AuditFailed(f"DATABASE_URL holds @ where none belongs; write it as %40 in a password; {EXPECTED}")
        url = url.set(drivername="postgresql+psycopg2")
        passwords = url.query.get("password", ())
        learn(str(url.password or ""), *((passwords,) if isinstance(passwords, str) else passwords))
        shown = url.set(drivername="postgresql", query={}).render_as_string()
        return cls(url, None, shown)

    def engine(self, statement_s: float, *, pooled: bool = True, most: int = MOST) -> Engine:
        """Connections on which each statement is a transaction of its own; nothing is sent before the first.

        ``most``: connections at once; who finds none free waits ``statement_s``. Not ``pooled``: for one use, and
        transactions are begun and ended by who uses it.
        """
        pool: dict[str, Any] = {"poolclass": NullPool}
        if pooled:
            pool = {"poolclass": QueuePool, "pool_pre_ping": True, "pool_timeout": statement_s}
            pool |= {"pool_size": min(most, KEPT), "max_overflow": max(0, most - KEPT)}
        engine = self._sqlite(statement_s, pooled, pool) if self.file else self._postgres(statement_s, pooled, pool)
        if pooled:
            _POOLED.add(engine)
            if self.file:
                _watch_file(engine.pool, self.file)
        return engine

    def _postgres(self, statement_s: float, own: bool, pool: dict[str, Any]) -> Engine:
        arguments: dict[str, Any] = {"cursor_factory": patient(statement_s * GRACE)}
        if "connect_timeout" not in self.url.query:
            arguments["connect_timeout"] = CONNECT_S
        level = "AUTOCOMMIT" if own else "READ COMMITTED"
        engine = create_engine(self.url, isolation_level=level, connect_args=arguments, hide_parameters=True, **pool)
        milliseconds = int(statement_s * 1000)

        def prepare(connection: Any, _record: object) -> None:
            before, connection.autocommit = connection.autocommit, True
            with connection.cursor() as cursor:
                cursor.execute(
                    f"SET statement_timeout = {milliseconds}; SET lock_timeout = {milliseconds};"
                    "SET synchronous_commit = 'on'"
                )
            connection.autocommit = before

        event.listen(engine, "connect", prepare)
        return engine

    def _sqlite(self, busy_s: float, own: bool, pool: dict[str, Any]) -> Engine:
        assert self.file is not None
        file = f"file:{quote(str(self.file))}?mode=rw"  # a missing file is a fault, never a new and empty audit

        def connect() -> sqlite3.Connection:
            connection = sqlite3.connect(file, uri=True, timeout=busy_s, isolation_level=None, check_same_thread=False)
            connection.execute("PRAGMA synchronous = FULL")  # with WAL the default of some builds is NORMAL
            return connection

        level = "AUTOCOMMIT" if own else "SERIALIZABLE"
        engine = create_engine("sqlite://", creator=connect, isolation_level=level, hide_parameters=True, **pool)
        if not own:

            def begin(connection: Any) -> None:
                connection.exec_driver_sql("BEGIN EXCLUSIVE")

            event.listen(engine, "begin", begin)
        return engine


def _watch_file(pool: Pool, file: Path) -> None:
    """Never reuse a connection to a file that has been deleted or replaced."""

    def identity() -> tuple[int, int] | None:
        found = file.stat() if file.exists() else None
        return (found.st_dev, found.st_ino) if found else None

    def connected(_connection: object, record: Any) -> None:
        record.info["file"] = identity()

    def checked_out(_connection: object, record: Any, _proxy: object) -> None:
        if record.info["file"] != identity():
            raise DisconnectionError("the file is another one now")

    event.listen(pool, "connect", connected)
    event.listen(pool, "checkout", checked_out)


_POOLED: WeakSet[Engine] = WeakSet()
_INHERITED: list[Pool] = []
"""Kept for good: closing a connection of the parent would harm it, and being forgotten closes one too."""


def _forget_inherited() -> None:
    """After a fork: the connections belong to the parent; this process opens its own."""
    for engine in _POOLED:
        _INHERITED.append(engine.pool)
        engine.dispose(close=False)


os.register_at_fork(after_in_child=_forget_inherited)
