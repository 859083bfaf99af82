"""``python -m tests.brisk_daemon run``: `dagster-daemon`, whose loops begin again every second.

Dagster has settings for its queue and for the watch over runs (``brisk``), but none for the 5 s between two looks at
sensors and the 30 s between two looks at backfills: most of what a test of the daemon would wait for.
"""

from __future__ import annotations

from typing import Any

import yaml
from dagster._daemon import backfill, sensor
from dagster._daemon.cli import main

from egoworld_resources.settings import PROJECT
from tests.alembic_once import read_migrations_once

EVERY_S = 1
ENVIRONMENT = {"DAGSTER_EVENT_LOG_CONSUMER_DAEMON_INTERVAL_SECONDS": str(EVERY_S)}
"""Restarts of killed runs are asked for by this loop."""


def brisk(facts: dict[str, Any]) -> None:
    """Change what a dagster.yaml says of how often the daemon looks."""
    facts["run_coordinator"]["config"]["dequeue_interval_seconds"] = EVERY_S
    facts["run_monitoring"]["poll_interval_seconds"] = 5 * EVERY_S


def workspace() -> dict[str, Any]:
    """Our workspace.yaml with the brisk code location under the same name."""
    facts = yaml.safe_load((PROJECT / "workspace.yaml").read_text(encoding="utf-8"))
    module = facts["load_from"][0]["python_module"]
    module |= {"module_name": "tests.brisk_code", "working_directory": str(PROJECT)}
    return facts


if __name__ == "__main__":
    sensor.MIN_INTERVAL_LOOP_TIME = EVERY_S
    backfill.DEFAULT_DAEMON_INTERVAL_SECONDS = EVERY_S
    read_migrations_once()
    main()
