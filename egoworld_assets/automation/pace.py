"""Who asks a sensor, how often, and which runs are still to end."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Self

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


@dataclass(frozen=True)
class Cursor:
    """How far a sensor is, as the text that Dagster keeps between its looks. Every field has a default."""

    @classmethod
    def read(cls, text: str | None) -> Self:
        """Parse what ``write`` gave; anything else begins from the start."""
        try:
            return cls(**json.loads(text or "{}"))
        except (ValueError, TypeError):
            return cls()

    def write(self) -> str:
        """As text for Dagster."""
        return json.dumps(asdict(self))


def sensor(look: Look, every_s: int, **target: Any) -> dg.SensorDefinition:
    """A sensor with a fixed interval in seconds, on from the start; by default named after its function."""
    running = dg.DefaultSensorStatus.RUNNING
    return dg.sensor(minimum_interval_seconds=every_s, default_status=running, **target)(look)


def by_daemon(context: dg.SensorEvaluationContext) -> bool:
    """Whether the daemon asks, or a caller outside Dagster; a dry run ("Test sensor") is of a sensor never started."""
    return context.last_sensor_start_time is not None or context.repository_def is None


def deadline(seconds: float = LOOK_S) -> Callable[[], bool]:
    """A function that returns whether this time has passed since this call."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end
