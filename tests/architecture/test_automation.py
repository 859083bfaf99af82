"""Whatever runs by itself is tried through Dagster's own entries; a definition that no such test names is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from egoworld_assets.definitions import build
from egoworld_resources.making.workbench import Workbench
from egoworld_resources.settings import Settings

TESTS = Path(__file__).resolve().parents[1]
ENTRIES = ("evaluate_tick", "tests.sensors", "tests.daemons", "tests.soak", "execute_in_process", "BACKFILL")
"""What a test that goes through Dagster has: a tick, the daemon, GraphQL, a job that is executed."""


def names() -> list[str]:
    """Every sensor, schedule and job of the project."""
    definitions = build(Workbench(Settings.load(home=Path("nowhere"))))
    return [found.name for kind in ("sensors", "schedules", "jobs") for found in getattr(definitions, kind)]


@pytest.mark.parametrize("name", names())
def test_it_is_named_by_a_test_that_asks_dagster(name: str) -> None:
    texts = [path.read_text(encoding="utf-8") for path in TESTS.rglob("*.py") if path.parent != Path(__file__).parent]
    through = [text for text in texts if any(entry in text for entry in ENTRIES)]
    assert any(f'"{name}"' in text for text in through), (
        f"{name}: no test asks Dagster for it by its name; tests/attack/test_automation.py shows how"
    )
