"""Who did what to which env: a row before each side effect, another after it, none ever changed."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, Engine, RowMapping, and_, func, insert, literal_column, select
from sqlalchemy.exc import SQLAlchemyError

from egoworld_resources.errors import LockBusy
from egoworld_resources.programs.redaction import redacted_value
from egoworld_resources.workflow_envs.actors import Actor
from egoworld_resources.workflow_envs.audit.creation import create
from egoworld_resources.workflow_envs.audit.database import STATEMENT_S, Address
from egoworld_resources.workflow_envs.audit.entries import Began, Operation, plain
from egoworld_resources.workflow_envs.audit.faults import audit_failed
from egoworld_resources.workflow_envs.audit.table import OPERATIONS

STARTS, ENDS = literal_column("'start'"), literal_column("'end'")
"""Written out in every query: SQLite takes a partial index only for a literal that it sees."""

START = OPERATIONS.alias("started")
END = OPERATIONS.alias("ended")
SAME = and_(END.c.operation == START.c.operation, END.c.folder == START.c.folder)  # by folder: that one's ends alone
JOINED = START.outerjoin(END, and_(SAME, END.c.event == ENDS))
STARTED = START.c.event == STARTS
INSERT = insert(OPERATIONS).inline()  # the new id is not needed
RUNNING = END.c.id.is_(None)


class Operations:
    """The audit in one database, for any number of threads and processes.

    Whatever is wrong with the database (it does not answer, has no table, no space ...) raises AuditFailed, whose
    message says what to do and never holds the password. No call waits longer than a few seconds.
    """

    def __init__(self, url: str, *, statement_s: float = STATEMENT_S) -> None:
        """``url``: sqlite:///file or postgresql://…, not opened yet; ``statement_s``: longest wait for a statement."""
        self._address = Address.of(url)
        self._engine = self._address.engine(statement_s)
        # SQLite lets one write and the others try again at random; threads that queue here all get their turn.
        self._writer = self._address.engine(statement_s, most=1) if self._address.file else self._engine

    @property
    def database(self) -> str:
        """Which database this is, without its password."""
        return self._address.shown

    def init(self) -> None:
        """Make the table, once however many processes ask, and see that the database answers."""
        try:
            create(self._address)
        except (SQLAlchemyError, OSError, LockBusy) as error:
            raise audit_failed(self._address.shown, error) from error

    def close(self) -> None:
        """Give the connections back; the next call opens new ones."""
        for engine in (self._engine, self._writer):
            engine.dispose()

    def begin(
        self,
        action: str,
        folder: str,
        parts: tuple[str, str, str],
        actor: Actor,
        details: Mapping[str, Any],
        lock_before: str = "",
    ) -> Began:
        """Note that an operation begins. It is on disk before this returns; when it raises, do nothing."""
        began = Began(uuid4().hex, action, folder, parts, actor, dict(details), _now(), lock_before)
        self._write(began, "start", began.started_at, details=dict(details), result="", message="", lock_after="")
        return began

    def end(
        self, began: Began, result: str, *, message: str = "", lock_after: str = "", seconds: float | None = None
    ) -> None:
        """Note how an operation ended, once. ``seconds``: how long it took; None: since it began."""
        at = _now()
        took = max(0.0, at - began.started_at) if seconds is None else seconds
        self._write(began, "end", at, details={}, result=result, message=message, lock_after=lock_after, seconds=took)

    def unfinished(self, folder: str | None = None) -> list[Began]:
        """Operations without an end, oldest first: running ones, and those whose process died."""
        query = select(START).select_from(JOINED).where(STARTED, RUNNING).order_by(START.c.id)
        if folder is not None:
            query = query.where(START.c.folder == folder)
        with self._asking() as connection:
            return [_began(row) for row in connection.execute(query).mappings()]

    def history(
        self,
        *,
        parts: tuple[str, str, str] | None = None,
        limit: int = 100,
        before: str | None = None,
        running: bool = False,
    ) -> list[Operation]:
        """Operations, newest first; ``running``: only those without an end.

        ``before``: the id of the last one of the previous page; an id that no operation has gives an empty page.
        """
        ended = (END.c.at, END.c.result, END.c.message, END.c.seconds, END.c.lock_after)
        query = select(START, *(column.label(f"end_{column.name}") for column in ended)).select_from(JOINED)
        query = query.where(STARTED).order_by(START.c.id.desc()).limit(limit)
        if parts is not None:
            columns = (START.c.workflow_id, START.c.node_id, START.c.version_id)
            query = query.where(*(column == part for column, part in zip(columns, parts, strict=True)))
        if running:
            query = query.where(RUNNING)
        with self._asking() as connection:
            if before is not None:
                last = select(START.c.id).where(START.c.operation == _uuid(before), STARTED)
                query = query.where(START.c.id < (connection.execute(last).scalar() or 0))
            return [_operation(row) for row in connection.execute(query).mappings()]

    def last_used(self) -> dict[str, float]:
        """Folder of each env -> when its newest ended operation ended, seconds since 1970."""
        newest = func.max(OPERATIONS.c.at, type_=OPERATIONS.c.at.type)
        query = select(OPERATIONS.c.folder, newest).where(OPERATIONS.c.event == ENDS).group_by(OPERATIONS.c.folder)
        with self._asking() as connection:
            return {str(folder): float(at) for folder, at in connection.execute(query)}

    def _write(self, began: Began, event: str, at: float, **values: Any) -> None:
        named = dict(zip(("workflow_id", "node_id", "version_id"), began.parts, strict=True))
        row = {
            "operation": UUID(began.id),
            "event": event,
            "at": at,
            **_clean({"action": began.action, "folder": began.folder, "lock_before": began.lock_before, **named}),
            **_clean({"actor": began.actor.name, "origin": began.actor.origin, **values}),
        }
        with self._asking(self._writer) as connection:
            connection.execute(INSERT, row)

    @contextmanager
    def _asking(self, engine: Engine | None = None) -> Generator[Connection]:
        try:
            with (engine or self._engine).connect() as connection:
                yield connection
        except (SQLAlchemyError, OSError) as error:
            raise audit_failed(self._address.shown, error) from error


def _clean(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without secrets, and texts as every database takes them."""
    hidden = {name: redacted_value(value) for name, value in values.items()}
    return {name: plain(value) if isinstance(value, str) else value for name, value in hidden.items()}


def _now() -> float:
    return datetime.now(UTC).timestamp()


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _parts(row: RowMapping) -> tuple[str, str, str]:
    return row["workflow_id"], row["node_id"], row["version_id"]


def _began(row: RowMapping) -> Began:
    actor = Actor(row["actor"], row["origin"])
    shared = (row["operation"].hex, row["action"], row["folder"], _parts(row), actor)
    return Began(*shared, row["details"], row["at"], row["lock_before"])


def _operation(row: RowMapping) -> Operation:
    shared = (row["operation"].hex, row["action"], row["folder"], _parts(row), row["actor"], row["origin"])
    return Operation(
        *shared,
        details=row["details"],
        started_at=row["at"],
        ended_at=row["end_at"],
        result=row["end_result"] or "",
        message=row["end_message"] or "",
        seconds=row["end_seconds"],
        lock_before=row["lock_before"],
        lock_after=row["end_lock_after"] or "",
    )
