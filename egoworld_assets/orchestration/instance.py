"""The Dagster instance of this installation."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from egoworld_resources.leases.locks import locked
from egoworld_resources.making.workbench import Workbench
from egoworld_resources.settings import PROJECT

PATIENT_BACKFILLS = "DAGSTER_BACKFILL_RETRY_DEFINITION_CHANGED_ERROR"
"""Makes a backfill wait while the code server starts again; without it Dagster ends the backfill as failed."""


def dagster_home(bench: Workbench) -> Path:
    """DAGSTER_HOME of this installation, made ready and put into the environment; a server has its own."""
    server = bench.layout.server / "dagster"
    if os.environ.get("DAGSTER_HOME") == str(server):
        return server
    home = bench.layout.dagster
    home.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(PROJECT / "infra" / "dagster.yaml", home / "dagster.yaml")
    os.environ["DAGSTER_HOME"] = str(home)
    os.environ[PATIENT_BACKFILLS] = "1"
    return home


def instance_of(bench: Workbench) -> dg.DagsterInstance:
    """The Dagster instance of this installation, with its tables: who else needs them finds them made."""
    home = dagster_home(bench)
    if home != bench.layout.dagster:
        return dg.DagsterInstance.get()  # `make up` made its tables, and not every part of it may read events
    with locked(home / ".making.lock"):  # of two that make them at once Dagster lets one fail
        instance = dg.DagsterInstance.get()
        # A kill while they were made leaves a file without them. Reading events makes them, asking for partitions
        # does not.
        instance.event_log_storage.get_maximum_record_id()
    return instance


@contextmanager
def dagster_quiet() -> Iterator[None]:
    """Dagster marks some of what is used as beta on every start; people at a terminal need not read that."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        warnings.simplefilter("ignore", dg.PreviewWarning)
        yield
