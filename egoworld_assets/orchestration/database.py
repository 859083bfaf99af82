"""Postgres, in which Dagster keeps its runs and events, goes away amid a run: that is no fault of a step or a video."""

from collections.abc import Iterator

import dagster as dg

AWAY = (
    "dagster_postgres.utils.DagsterPostgresException",
    "psycopg2.InterfaceError",
    "psycopg2.OperationalError",
    "psycopg2.errors.AdminShutdown",
    "psycopg2.errors.CannotConnectNow",
    "psycopg2.errors.CrashShutdown",
)
"""What is raised then, by its full name: events keep exceptions as text."""


def is_away(error: BaseException) -> bool:
    """Whether an exception, or what led to it, says that Dagster's database does not answer."""
    return any(f"{type(one).__module__}.{type(one).__qualname__}" in AWAY for one in led_to(error))


def led_to(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and those behind it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def failed_without_it(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether a step of a run failed because Dagster's database did not answer."""
    for record in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE):
        error = record.dagster_event.step_failure_data.error if record.dagster_event else None
        while error is not None:
            if error.message.startswith(AWAY):
                return True
            error = error.cause or error.context
    return False
