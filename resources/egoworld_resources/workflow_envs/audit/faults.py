"""What a fault of the database means, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.exc import StatementError

from egoworld_resources.programs.redaction import redacted
from egoworld_resources.workflow_envs.errors import AuditFailed


@dataclass(frozen=True)
class _Known:
    """A kind of fault: how SQLSTATEs of Postgres or names of SQLite begin, or what the driver's text holds."""

    codes: tuple[str, ...]
    words: tuple[str, ...]
    advice: str


KNOWN = (
    _Known(
        ("42P01",),
        ("no such table",),
        "has no table env_operations; start the service again, which makes it, or restore the database from a backup",
    ),
    _Known(("53100", "SQLITE_FULL"), ("No space left",), "has no space left; free some on its disk"),
    _Known(
        ("42501",), ("permission denied",), "does not allow its user to do this; grant SELECT and INSERT on its tables"
    ),
    _Known(
        ("25006", "SQLITE_READONLY"),
        ("Read-only file system",),
        "is read-only; make it writable, or name the primary server in DATABASE_URL",
    ),
    _Known(
        ("23505", "SQLITE_CONSTRAINT_TRIGGER", "SQLITE_CONSTRAINT_UNIQUE"),
        (),
        "holds this row already; the operation was ended twice, look at its history",
    ),
    _Known(
        ("28",),
        ("password authentication failed", "no password supplied", "no pg_hba.conf entry", 'role "'),
        "refuses the login; correct the user and the password in DATABASE_URL",
    ),
    _Known(("3D",), ('database "',), "does not exist; create it, or correct DATABASE_URL"),
    _Known(("53",), ("too many c", "remaining connection slots"), "takes no more connections; raise max_connections"),
    _Known(
        ("57014", "55P03", "SQLITE_BUSY", "SQLITE_LOCKED"),
        ("QueuePool limit",),
        "does not answer in time; see what else uses it, and ask again",
    ),
    _Known(
        ("SQLITE_CORRUPT", "SQLITE_NOTADB"),
        (),
        "is damaged; restore it from a backup, or move it away to begin a new one",
    ),
    _Known(
        ("SQLITE_IOERR",),
        (),
        "cannot be read or written: its disk is full or fails; free some space",
    ),
    _Known(("SQLITE_CANTOPEN",), (), "cannot be opened; restore the file, or start the service again, which makes it"),
    _Known(("08", "57P"), ("connection", "translate host name"), "does not answer; start it, or correct DATABASE_URL"),
)
UNKNOWN = "failed; see its own log"


def audit_failed(database: str, error: Exception) -> AuditFailed:
    """The error to raise for a fault: what it is, what to do, the driver's own words without secrets."""
    cause = error.orig if isinstance(error, StatementError) and error.orig is not None else error
    code = str(getattr(cause, "pgcode", None) or getattr(cause, "sqlite_errorname", None) or "")
    text = " ".join(str(cause).split())
    found = (known.advice for known in KNOWN if code and code.startswith(known.codes))
    by_words = (known.advice for known in KNOWN if any(word in text for word in known.words))
    advice = next(found, None) or next(by_words, UNKNOWN)
    text = redacted(text)
    details = ", ".join(part for part in (code, text or type(cause).__name__) if part)
    return AuditFailed(f"the audit database {database} {advice} ({details})", database=database)
