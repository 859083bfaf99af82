"""Dagster on SQLite reads Alembic's migrations at every look, be it a tick: 60 ms of CPU, and 10 without that."""

from __future__ import annotations

from functools import cache

from alembic.script import ScriptDirectory


def read_migrations_once() -> None:
    """Keep what was read of each of Dagster's configurations of Alembic for as long as this process lives."""
    ScriptDirectory.from_config = cache(ScriptDirectory.from_config)  # type: ignore[method-assign,assignment]
