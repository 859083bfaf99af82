"""The code location of a brisk daemon: egoworld's own."""

from __future__ import annotations

from egoworld_assets.definitions import defs
from tests.alembic_once import read_migrations_once

__all__ = ["defs"]

read_migrations_once()
