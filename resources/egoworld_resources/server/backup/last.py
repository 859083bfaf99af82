"""Which backup of a server is the newest: a small file beside the server's state, for its metrics and the doctor."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from egoworld_resources.leases.locks import write_private

FILE = "last_backup.json"


class LastBackup(BaseModel):
    """Where the newest backup lies, and when it was begun."""

    model_config = ConfigDict(frozen=True)

    folder: Path
    made_at: datetime


def note(server: Path, made: LastBackup) -> None:
    """Write it down in the folder of a server's state."""
    write_private(server / FILE, made.model_dump_json() + "\n")


def last_backup(server: Path) -> LastBackup | None:
    """The newest backup that was made of the server; None when none was, or what was written down cannot be read."""
    try:
        return LastBackup.model_validate_json((server / FILE).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
