"""(a) The same videos as one backfill through Dagster's daemon, from the request to the last artifact."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

from egoworld_assets.orchestration.registry import stages
from egoworld_assets.planning.outdated import outdated
from egoworld_resources.making.workbench import Workbench
from tests.benchmarks.place import Place, settings
from tests.soak import Service

PATIENCE_S = 3600.0
LOOK_S = 1.0


def seconds(place: Place, videos: Sequence[Path]) -> float:
    """Start the service on a new home with these videos, ask for everything of them, wait until all is made.

    The service starts beside it; the backfill is asked for again until the webserver answers, and counts from there.
    """
    home = place.home("backfill")
    bench = Workbench(settings(home))
    service = Service(home, str(written(home / "egoworld.toml", bench)))
    try:
        done = service.command("ingest", *map(str, videos))
        if done.returncode:
            raise RuntimeError(f"egoworld ingest ended with status {done.returncode}: {done.stderr[-1000:]}")
        keys = [key for key, _ in bench.store.records("videos")]
        service.backfill(keys)
        began = time.monotonic()
        while wanted := [key for key in keys if outdated(bench.snapshot(), stages().values(), key)]:
            if time.monotonic() - began > PATIENCE_S:
                raise RuntimeError(f"after an hour the backfill had not made everything of {', '.join(wanted)}")
            time.sleep(LOOK_S)
        return time.monotonic() - began
    finally:
        service.stop()


def written(path: Path, bench: Workbench) -> Path:
    """The configuration of a home, for commands that are told of nothing else."""
    given = {"home": bench.settings.home, "uv": bench.settings.uv, "uv_cache": bench.settings.uv_cache}
    path.write_text("".join(f"{name} = {json.dumps(str(value))}\n" for name, value in given.items()), encoding="utf-8")
    return path
