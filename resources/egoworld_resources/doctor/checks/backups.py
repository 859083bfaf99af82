"""The backups of the server that belongs to home."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from egoworld_resources.doctor import server
from egoworld_resources.doctor.finding import Finding, Subject, check, not_needed, ok, warning
from egoworld_resources.server.backup.files import FACTS
from egoworld_resources.server.backup.last import last_backup

OLD = timedelta(days=2)
FIX = "make backup TO=a folder on another disk; put it into cron"


@check("backup")
def backup(subject: Subject) -> Iterator[Finding]:
    """There is one, it is young, and it is still where it was written."""
    if server.env_file(subject) is None:
        yield not_needed("newest", "no server was set up here (`make up` does it)")
        return
    known = last_backup(server.folder(subject))
    if known is None:
        yield warning("newest", "none of this server was made here", FIX)
        return
    age = datetime.now(UTC) - known.made_at
    found = f"{known.folder}, {age / timedelta(days=1):.1f} days old"
    if not (known.folder / FACTS).is_file():
        yield warning("newest", f"{known.folder} is not there now", f"mount its disk, or {FIX}")
    elif age > OLD:
        yield warning("newest", found, FIX)
    else:
        yield ok("newest", found)
