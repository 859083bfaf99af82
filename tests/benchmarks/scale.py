"""`python -m tests.benchmarks.scale VIDEOS...`: sensor, schedule and status as the videos grow, by --shards too.

The videos are written through the store's own API (made_store.py) and lie in the inbox as files of a few bytes that
were taken before. Of each thing: seconds by the clock and of the processor, the start of Python left out.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from egoworld_assets.automation.inbox_sensor import inbox
from egoworld_assets.cli import status
from egoworld_assets.orchestration.partitions import sync_partitions
from egoworld_assets.orchestration.registry import stages
from egoworld_assets.orchestration.shards import by_partition
from egoworld_assets.planning import totals
from egoworld_resources.inbox.folder import Cursor, look
from egoworld_resources.making.workbench import Workbench
from egoworld_resources.settings import Settings
from tests.benchmarks.made_store import fill
from tests.benchmarks.place import Place, a_place, settings
from tests.made_up import video
from tests.sensors import Ticks

LINE = "{:<62} {:>9} {:>9}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.scale", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("videos", nargs="+", type=int, help="numbers of videos, growing")
    parser.add_argument("--shards", type=int, default=0, help="the layout (default 0: a partition per video)")
    parser.add_argument("--stages", type=int, default=None, help="how many first stages of each (default all)")
    parser.add_argument("--looked", type=int, default=1_000, help="videos that status and stale look at (default 1000)")
    asked = parser.parse_args(arguments)
    with a_place(quick=False, minutes=0, turns=1) as place:
        grow(place, asked.videos, asked.stages, asked.shards, asked.looked)


def grow(place: Place, counts: Sequence[int], upto: int | None, shards: int, looked: int) -> None:
    """Measure the same home at each size."""
    configured = settings(place.home("scale"), shards=shards, settle_s=0.0, refresh_every_h=1e6, refresh_for_h=1e6)
    made = 0
    for count in counts:
        with measured(f"{count - made:,} videos written"):
            fill(configured, range(made, count), upto)
            into_inbox(configured.inbox_folder, range(made, count))
        made = count
        at_size(configured, count, looked)


def at_size(configured: Settings, count: int, looked: int) -> None:
    """All measures at one size."""
    print(LINE.format(f"{count:,} videos, {configured.shards or 'no'} shards", "clock s", "cpu s"), flush=True)
    bench = Workbench(configured)
    folder = configured.home / "dagster-scale"
    folder.mkdir(exist_ok=True)
    with dg.DagsterInstance.local_temp(str(folder)) as instance:
        with measured("keys of all videos, and their partitions"):
            by_partition(bench.store.keys("videos"), configured.shards)
        with measured("facts of all videos"):
            sum(1 for _ in bench.store.records("videos"))
        with measured("Dagster's partitions, told or compared"):
            sync_partitions(bench, instance)
        cursor = Cursor(time.time_ns(), {file.folder for file in look(configured.inbox_folder)}).write()
        for what in ("at rest", "with one new video"):
            with measured(f"tick of the inbox sensor, {what}"):
                inbox(dg.build_sensor_context(instance=instance, cursor=cursor, resources={"bench": bench}))
            video(configured.inbox_folder / f"new-{count}.mp4")
        ticks = Ticks(bench, instance)
        with measured("first tick of the nightly refresh (ends after 30 s)"):
            told = ticks.look("nightly_refresh")
        print(f"    it asked for {len(told.run_requests or ())} partitions; next: {told.cursor}")
    keys = bench.store.keys("videos")[: max(looked, 1)]
    with measured(f"status of {len(keys):,} of them"):
        snapshot = bench.snapshot()
        for key in keys:
            status.status_of(snapshot, stages().values(), key)
    with measured(f"stale of {len(keys):,} of them"):
        totals.planned(bench.snapshot(), keys)


def into_inbox(folder: Path, numbers: range) -> None:
    """A few bytes under the names that the made-up videos came with."""
    (folder / "kitchen").mkdir(parents=True, exist_ok=True)
    for number in numbers:
        (folder / "kitchen" / f"made {number:05d}.mp4").write_bytes(b"taken before")


@contextmanager
def measured(what: str) -> Iterator[None]:
    """Print what a block took, by the clock and in processor seconds of this process and its children."""
    clock, used = time.perf_counter(), sum(os.times()[:4])
    yield
    print(LINE.format(what, f"{time.perf_counter() - clock:.2f}", f"{sum(os.times()[:4]) - used:.2f}"), flush=True)


if __name__ == "__main__":
    main()
