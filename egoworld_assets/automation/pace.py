"""Who asks a sensor, how often, and which runs are still to end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import dagster as dg

UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
"""Statuses of runs that have not ended."""

Look = Callable[..., Any]
LOOK_S = 30.0
"""Dagster ends a tick after a minute; a look ends itself before that, and the next one goes on behind it."""


def sensor(look: Look, every_s: int, **target: Any) -> dg.SensorDefinition:
    """A sensor that looks every so many seconds, on from the start; by default it has the name of its function."""
    running = dg.DefaultSensorStatus.RUNNING
    return dg.sensor(minimum_interval_seconds=every_s, default_status=running, **target)(look)


def by_daemon(context: dg.SensorEvaluationContext) -> bool:
    """Whether the daemon asks, or a caller outside Dagster; a dry run ("Test sensor") is of a sensor never started."""
    return context.last_sensor_start_time is not None or context.repository_def is None


def deadline(seconds: float = LOOK_S) -> Callable[[], bool]:
    """Tells whether so many seconds have passed since this call."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end
