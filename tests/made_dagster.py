"""Dagster instances on SQLite as copies of one whose tables are there: making them takes three times as long."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg


@cache
def template() -> Path:
    """A home with all tables and nothing in them; it goes with this process."""
    folder = Path(tempfile.mkdtemp(prefix="egoworld-dagster-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with dg.DagsterInstance.local_temp(str(folder)) as instance:
        instance.get_runs_count()
        instance.event_log_storage.get_maximum_record_id()
        instance.all_instigator_state()
    return folder


def dagster_in(folder: Path, overrides: dict[str, Any] | None = None) -> dg.DagsterInstance:
    """A new instance in a folder. overrides: of dagster.yaml."""
    shutil.copytree(template(), folder, dirs_exist_ok=True)
    return dg.DagsterInstance.local_temp(str(folder), overrides=overrides)
