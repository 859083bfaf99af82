"""The index as queries see it: what is made, what failed and which videos there are, by interned numbers."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects import postgresql, sqlite

METADATA = MetaData()


def _number(name: str = "id", **how: Any) -> Column[int]:
    return Column(name, BigInteger().with_variant(Integer, "sqlite"), **how)


ABOUT = Table(
    "store_index",
    METADATA,
    Column("layout", Integer, primary_key=True),
    Column("name", Text, nullable=False),  # of this index, beside others of the same store
    Column("complete", Boolean, nullable=False),  # whether it holds all that the store does
    Column("place", Text, nullable=False),  # how far it has been made
)
NAMES = Table(
    "store_names",
    METADATA,
    _number(primary_key=True),
    Column("short", String(65), nullable=False, unique=True),  # the text, or the digest of a long one
    Column("text", Text),  # of a long one
)
RECIPES = Table(
    "store_recipes",
    METADATA,
    _number(primary_key=True),
    Column("digest", String(64), nullable=False, unique=True),
    Column("body", Text, nullable=False),
)
KINDS = Table(
    "store_kinds",
    METADATA,
    _number(primary_key=True),
    *(_number(name, nullable=False) for name in ("recipe", "shape", "quarantine", "checks", "damage")),
    UniqueConstraint("recipe", "shape", "quarantine", "checks", "damage"),
)
"""What artifacts have in common. shape: names of the inputs; quarantine, damage: why; 0: not."""
VIDEOS = Table(
    "store_videos",
    METADATA,
    _number(primary_key=True),
    Column("key", Text, nullable=False, unique=True),
    _number("source", nullable=False),  # 0: no video of this key is known
    Column("name", Text, nullable=False),
    _number("bytes", nullable=False),
    Column("arrived_at", Text, nullable=False),
    _number("damage", nullable=False),
)
MADE = Table(
    "store_made",
    METADATA,
    _number("asset", primary_key=True, autoincrement=False),
    _number("video", primary_key=True, autoincrement=False),
    _number("kind", nullable=False),
    Column("line", Text, nullable=False),
    _number("rows", nullable=False),
    Column("seconds", Float, nullable=False),
    _number("bytes", nullable=False),
    _number("frames", nullable=False),
    sqlite_with_rowid=False,
)
"""What is made. line: numbers as 8 hex digits each, of the video, the version, the kind, the fingerprint where it is
not that of recipe and inputs (else 0), and of each input's version (0: it did not exist). A look at everything reads
the lines as one text, four times as fast as columns of numbers.
"""
FAILURES = Table(
    "store_failures",
    METADATA,
    _number("asset", primary_key=True, autoincrement=False),
    _number("video", primary_key=True, autoincrement=False),
    Column("fingerprint", Text, nullable=False),
    _number("reason", nullable=False),
    Column("kind", Text),
    sqlite_with_rowid=False,
)
PENDING = Table(
    "store_pending",
    METADATA,
    _number(primary_key=True),
    Column("kind", String(8), nullable=False),
    Column("asset", Text, nullable=False),
    Column("video", Text, nullable=False),
    Column("writer", Text, nullable=False),
    Column("since", Float, nullable=False),
)
"""What is being written to the store. A row that outlived its writer names what is to be looked at again."""


def insert(connection: Connection, table: Table) -> Any:
    """An INSERT that can say what happens on a conflict."""
    return (sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert)(table)
