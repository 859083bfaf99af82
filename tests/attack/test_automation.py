"""What runs by itself: asked through Dagster's own entries, killed in between, and never by a dry run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from egoworld_resources.arrivals import Arrivals
from egoworld_resources.workbench import Workbench
from tests.daemons import bench_of, daemon_of
from tests.made_graph import Installation
from tests.made_up import video, workbench
from tests.sensors import Ticks, everything_in, instance_of

ALWAYS = {"refresh_for_h": 1e6, "refresh_every_h": 1e6}
"""One night without end."""


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    return workbench(tmp_path, refresh_limit=2, settle_s=0.0, **ALWAYS)


@pytest.fixture
def ticks(bench: Workbench) -> Iterator[Ticks]:
    with instance_of(bench) as instance:
        yield Ticks(bench, instance)


def taken(bench: Workbench, folder: Path, count: int) -> list[str]:
    """So many videos in the store, of which nothing is made yet."""
    paths = [video(folder / f"{number}.mp4", shots=(4 + number,)) for number in range(count)]
    return [Arrivals(bench.store).take(path).video for path in paths]


def partitions(requests: list[dg.RunRequest]) -> list[str]:
    return [request.tags["dagster/partition"] for request in requests]


def test_a_night_with_several_stale_videos(ticks: Ticks, tmp_path: Path) -> None:
    """Several stale partitions in one tick of the nightly refresh: each gets a run with a key of its own."""
    keys = taken(ticks.bench, tmp_path, 3)
    assert ticks.tick("nightly_refresh") == [], "first the partitions are laid out"
    asked = ticks.tick("nightly_refresh")
    assert partitions(asked) == sorted(keys)[:2], "no more than refresh_limit"
    assert len({request.run_key for request in asked}) == 2
    assert ticks.tick("nightly_refresh") == [], "the limit of the night is reached"


def test_a_tick_that_failed_loses_nothing_and_doubles_nothing(ticks: Ticks, tmp_path: Path) -> None:
    """The daemon dies after one of two runs of the night was made: the night goes on, within its limit."""
    keys = sorted(taken(ticks.bench, tmp_path, 3))
    ticks.tick("nightly_refresh")
    first, second = ticks.look("nightly_refresh").run_requests
    ticks.queue(first)  # and then the power went: neither the second run nor the cursor was kept
    again = ticks.tick("nightly_refresh")
    assert [request.run_key for request in again] == [second.run_key]
    assert partitions([first, *again]) == keys[:2]
    assert ticks.tick("nightly_refresh") == []


def test_one_video_that_cannot_be_judged(ticks: Ticks, tmp_path: Path) -> None:
    """A record that cannot be read at all costs its own video the night, and no other."""
    keys = sorted(taken(ticks.bench, tmp_path, 2))
    ticks.tick("nightly_refresh")
    broken = ticks.bench.layout.store / "records" / "videos" / f"{keys[0]}.json"
    whole = broken.read_text()
    broken.write_text("{ this is no JSON")
    assert partitions(ticks.tick("nightly_refresh")) == keys[1:]
    broken.write_text(whole)
    assert partitions(ticks.tick("nightly_refresh")) == keys[:1], "looked at again in the same night"


def test_a_dry_run_changes_nothing(ticks: Ticks, tmp_path: Path) -> None:
    """ "Test sensor" and "Test schedule" of everything there is, with work for each of them."""
    taken(ticks.bench, tmp_path, 2)
    ticks.bench.settings.inbox_folder.mkdir(parents=True)
    video(ticks.bench.settings.inbox_folder / "new.mp4", shots=(9,))
    dead = ticks.queue(dg.RunRequest(), dg.DagsterRunStatus.STARTED)
    ticks.instance.add_run_tags(dead.run_id, {"egoworld/process": f"{dead.run_id} {gone()}"})
    before = everything_in(ticks.bench, ticks.instance)
    repository = definitions_of(ticks.bench)
    for sensor in repository.sensor_defs:
        ticks.look(sensor.name, dry=True)
    for schedule in repository.schedule_defs:
        ticks.schedule(schedule.name)
    assert everything_in(ticks.bench, ticks.instance) == before
    assert partitions(ticks.tick("inbox")), "what a dry run left is still there to be taken"
    ticks.tick("dead_runs")
    ended = ticks.instance.get_run_by_id(dead.run_id)
    assert ended
    assert ended.status == dg.DagsterRunStatus.FAILURE


def definitions_of(bench: Workbench) -> dg.RepositoryDefinition:
    from egoworld_assets.definitions import build

    return build(bench).get_repository_def()


def gone() -> str:
    """A process of this machine that has ended."""
    import subprocess

    from egoworld_resources.processes import Identity

    with subprocess.Popen(["sleep", "60"]) as sleeper:
        found = str(Identity.of(sleeper.pid))
        sleeper.kill()
    return found


@pytest.mark.timeout(600)
def test_two_nights_in_the_daemon_with_kill_9_between(tmp_path: Path) -> None:
    """Two nights of several stale videos each in the real daemon, which is killed -9 between them."""
    night_h = 20 / 3600
    installed = Installation(
        tmp_path, sensors_every_s=1, refresh_limit=2, refresh_every_h=night_h, refresh_for_h=night_h
    )
    keys = sorted(taken(bench_of(installed), tmp_path, 4))
    with daemon_of(installed, at_once=0) as (daemon, instance):

        def nights() -> list[list[str]]:
            found: dict[str, list[str]] = {}
            for run in instance.get_runs(dg.RunsFilter(tags={"dagster/sensor_name": "nightly_refresh"})):
                found.setdefault(run.tags["egoworld/night"], []).append(run.tags["dagster/partition"])
            return [sorted(found[night]) for night in sorted(found)]

        daemon.wait(instance, lambda: bool(nights()))
        daemon.kill()
        daemon.start()
        daemon.wait(instance, lambda: len(nights()) > 1 and len(nights()[1]) > 1)
        assert nights()[:2] == [keys[:2], keys[2:]]
