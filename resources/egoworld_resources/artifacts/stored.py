"""One object of a store."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class StoredObject:
    """One object or file of a store. key: path in the store; tag: changes with the bytes, empty when not known."""

    key: str
    bytes: int
    modified: datetime
    tag: str = ""
