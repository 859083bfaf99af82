"""Dagster's own tables at home, after a kill while they were made."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from egoworld_assets.orchestration.instance import instance_of
from egoworld_assets.orchestration.partitions import add_partitions
from tests.made_up import workbench


@pytest.mark.parametrize("tables", [[], ["event_logs"]], ids=["no table", "one table"])
def test_tables_that_were_half_made_are_made(
    tmp_path: Path, tables: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill leaves the file of the event log with the first of its tables, or with none."""
    monkeypatch.setenv("DAGSTER_HOME", "")  # put back afterwards
    bench = workbench(tmp_path)
    with instance_of(bench) as whole:
        found = next(Path(whole.root_directory).rglob("index.db"))
        with closing(sqlite3.connect(found)) as made:
            rows = made.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchall()
            kept = [sql for name, sql in rows if name in tables]
    for end in ("", "-wal", "-shm"):
        Path(f"{found}{end}").unlink(missing_ok=True)
    with closing(sqlite3.connect(found)) as half:
        for sql in kept:
            half.execute(sql)
        half.commit()
    found.touch()
    with instance_of(bench) as instance:
        add_partitions(bench, instance, ["a-video-00000001"])
        assert instance.get_dynamic_partitions("videos") == ["a-video-00000001"]
