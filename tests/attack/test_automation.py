"""What runs by itself: asked through Dagster's own entries, killed in between, and never by a dry run."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from egoworld_assets.automation.restart import CONSUMED
from egoworld_assets.orchestration.batches import partitions_of
from egoworld_resources.inbox.arrivals import Arrivals
from egoworld_resources.leases.processes import Identity
from egoworld_resources.making.workbench import Workbench
from tests.benchmarks import made_store
from tests.daemons import bench_of, daemon_of
from tests.made_graph import Installation
from tests.made_up import video, workbench
from tests.sensors import Ticks, everything_in, instance_of, partitions_in

ALWAYS = {"refresh_for_h": 1e6, "refresh_every_h": 1e6}
"""One night without end."""


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    return workbench(tmp_path, refresh_limit=2, batch=1, settle_s=0.0, dataset_quiet_s=0.0, **ALWAYS)


@pytest.fixture
def ticks(bench: Workbench) -> Iterator[Ticks]:
    with instance_of(bench) as instance:
        yield Ticks(bench, instance)


def taken(bench: Workbench, folder: Path, count: int) -> list[str]:
    """This number of videos in the store, of which nothing is made yet."""
    paths = [video(folder / f"{number}.mp4", shots=(4 + number,)) for number in range(count)]
    return [Arrivals(bench.store).take(path).video for path in paths]


def test_a_night_with_several_stale_videos(ticks: Ticks, tmp_path: Path) -> None:
    """Several stale partitions in one tick of the nightly refresh: each gets a run with a key of its own."""
    keys = taken(ticks.bench, tmp_path, 3)
    assert ticks.tick("nightly_refresh") == [], "first the partitions are laid out"
    requests = ticks.tick("nightly_refresh")
    assert partitions_in(ticks.instance, requests) == sorted(keys)[:2], "no more than refresh_limit"
    assert len({request.run_key for request in requests}) == 2
    assert ticks.tick("nightly_refresh") == [], "the limit of the night is reached"


def test_a_tick_that_failed_loses_nothing_and_doubles_nothing(ticks: Ticks, tmp_path: Path) -> None:
    """The daemon dies after one of two runs of the night was made: the night goes on, within its limit."""
    keys = sorted(taken(ticks.bench, tmp_path, 3))
    ticks.tick("nightly_refresh")
    first, second = ticks.look("nightly_refresh").run_requests
    ticks.queue(first)  # and then the power went: neither the second run nor the cursor was kept
    again = ticks.tick("nightly_refresh")
    assert [request.run_key for request in again] == [second.run_key]
    assert partitions_in(ticks.instance, [first, *again]) == keys[:2]
    assert ticks.tick("nightly_refresh") == []


def test_one_video_that_cannot_be_judged(ticks: Ticks, tmp_path: Path) -> None:
    """A record that cannot be read at all costs its own video the night, and no other."""
    keys = sorted(taken(ticks.bench, tmp_path, 2))
    ticks.tick("nightly_refresh")
    broken = ticks.bench.layout.store / "records" / "videos" / f"{keys[0]}.json"
    whole = broken.read_text()
    broken.write_text("{ this is no JSON")
    assert partitions_in(ticks.instance, ticks.tick("nightly_refresh")) == keys[1:]
    broken.write_text(whole)
    assert partitions_in(ticks.instance, ticks.tick("nightly_refresh")) == keys[:1], "looked at again in the same night"


def test_a_dry_run_changes_nothing(ticks: Ticks, tmp_path: Path) -> None:
    """ "Test sensor" and "Test schedule" of everything there is, with work for each of them."""
    taken(ticks.bench, tmp_path, 2)
    ticks.bench.settings.inbox_folder.mkdir(parents=True)
    video(ticks.bench.settings.inbox_folder / "new.mp4", shots=(9,))
    dead = ticks.queue(dg.RunRequest(), dg.DagsterRunStatus.STARTED)
    ticks.instance.add_run_tags(dead.run_id, {"egoworld/process": f"{dead.run_id} {gone()}"})
    before = everything_in(ticks.bench, ticks.instance)
    repository = ticks.repository
    for sensor in repository.sensor_defs:
        ticks.look(sensor.name, dry=True)
    for schedule in repository.schedule_defs:
        ticks.schedule(schedule.name)
    assert everything_in(ticks.bench, ticks.instance) == before
    assert partitions_in(ticks.instance, ticks.tick("inbox")), "what a dry run left is still there to be taken"
    ticks.tick("dead_runs")
    ended = ticks.instance.get_run_by_id(dead.run_id)
    assert ended
    assert ended.status == dg.DagsterRunStatus.FAILURE


def gone() -> str:
    """A process of this machine that has ended."""
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        found = str(Identity.of(sleeper.pid))
        sleeper.kill()
    return found


def merges_asked(ticks: Ticks) -> list[str | None]:
    """Run keys of the merges that a tick asked for, their runs made under the job of merges."""
    result = ticks.look("dataset_follows")
    ticks.cursors["dataset_follows"] = result.cursor
    for request in result.run_requests:
        ticks.queue(request, job="merge_dataset")
    return [request.run_key for request in result.run_requests]


def test_the_dataset_follows_once(ticks: Ticks) -> None:
    """A video becomes usable: one merge, none beside it, none in a loop after it failed."""
    made_store.add_video(ticks.bench, 5)
    first = merges_asked(ticks)
    assert len(first) == 1
    assert merges_asked(ticks) == [], "one is under way"
    ticks.finish(fault="no space left")
    assert [merges_asked(ticks) for _ in range(3)] == [[], [], []], "a fault is not tried again and again"


def test_an_arrival_during_a_merge(ticks: Ticks) -> None:
    """Episodes of another video are made while a merge runs that began before: one more merge, then none."""
    made_store.add_video(ticks.bench, 5)
    first = merges_asked(ticks)
    made_store.add_video(ticks.bench, 6)
    ticks.instance.report_runless_asset_event(dg.AssetMaterialization("episodes", partition="made-00006"))
    assert merges_asked(ticks) == [], "one is under way"
    ticks.finish(over=["made-00005"])
    second = merges_asked(ticks)
    assert len(second) == 1
    assert first != second, "another run key: Dagster would not start it otherwise"
    ticks.finish()
    assert [merges_asked(ticks) for _ in range(3)] == [[], [], []]


def test_a_merge_whose_cursor_was_lost(ticks: Ticks) -> None:
    """The daemon dies after a merge was made and before its cursor was kept: no second one, and none is lost."""
    made_store.add_video(ticks.bench, 5)
    result = ticks.look("dataset_follows")
    ticks.queue(result.run_requests[0], job="merge_dataset")
    assert merges_asked(ticks) == []
    made_store.add_video(ticks.bench, 6)
    ticks.finish(over=["made-00005"])
    assert len(merges_asked(ticks)) == 1, "what came meanwhile is merged"


def test_changes_that_no_run_tells_of(ticks: Ticks) -> None:
    """A video is removed from the store by hand: the dataset is merged again."""
    for number in (5, 6):
        made_store.add_video(ticks.bench, number)
    assert len(merges_asked(ticks)) == 1
    ticks.finish()
    assert merges_asked(ticks) == []
    ticks.bench.store.record("videos", "made-00005", None)
    ticks.again_everything()
    assert len(merges_asked(ticks)) == 1
    ticks.finish()
    assert merges_asked(ticks) == []


def test_runs_whose_restart_was_lost(ticks: Ticks, tmp_path: Path) -> None:
    """Killed runs that Dagster's own retry passed by: each gets one successor, a bounded number of times."""
    (key,) = taken(ticks.bench, tmp_path, 1)
    ticks.instance.add_dynamic_partitions("videos", [key])
    request = dg.RunRequest(tags={"dagster/partition": key})
    killed = [ticks.queue(request, dg.DagsterRunStatus.STARTED) for _ in range(2)]
    tired = ticks.queue(dg.RunRequest(tags={**request.tags, "egoworld/restarts": "5"}), dg.DagsterRunStatus.STARTED)
    living = ticks.queue(request, dg.DagsterRunStatus.STARTED)
    for run in (*killed, tired):
        ticks.instance.add_run_tags(run.run_id, {"egoworld/process": f"{run.run_id} {gone()}"})
    ticks.instance.add_run_tags(living.run_id, {"egoworld/process": f"{living.run_id} {Identity.mine()}"})
    ticks.tick("dead_runs")
    assert ticks.tick("lost_restarts") == [], "Dagster may still start them again"
    newest = ticks.instance.event_log_storage.get_maximum_record_id()
    ticks.instance.daemon_cursor_storage.set_cursor_values({CONSUMED: str(newest)})
    requests = ticks.look("lost_restarts").run_requests
    assert sorted(r.run_key for r in requests) == sorted(f"restart:{run.run_id}" for run in killed)
    assert [r.tags["egoworld/restarts"] for r in requests] == ["1", "1"]
    assert [r.run_key for r in ticks.tick("lost_restarts")] == [r.run_key for r in requests], "the cursor had been lost"
    assert ticks.tick("lost_restarts") == []


def test_a_terminated_run_stays_terminated(ticks: Ticks) -> None:
    """A person terminates a run and its process dies over it: it is canceled, not failed and started again."""
    run = ticks.queue(dg.RunRequest(), dg.DagsterRunStatus.CANCELING)
    ticks.instance.add_run_tags(run.run_id, {"egoworld/process": f"{run.run_id} {gone()}"})
    ticks.tick("dead_runs")
    ended = ticks.instance.get_run_by_id(run.run_id)
    assert ended
    assert ended.status == dg.DagsterRunStatus.CANCELED


def test_a_run_that_took_over_the_tags_of_a_dead_one(ticks: Ticks) -> None:
    """A run that was started again carries the process of the dead run in its tags: it lives."""
    dead, again = (ticks.queue(dg.RunRequest(), dg.DagsterRunStatus.STARTED) for _ in range(2))
    for run in (dead, again):
        ticks.instance.add_run_tags(run.run_id, {"egoworld/process": f"{dead.run_id} {gone()}"})
    ticks.tick("dead_runs")
    found = [ticks.instance.get_run_by_id(run.run_id) for run in (dead, again)]
    assert [run.status for run in found if run] == [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.STARTED]


def test_a_clock_that_is_set_back_by_a_year(ticks: Ticks, tmp_path: Path) -> None:
    """All that the sensors remember lies a year ahead: the night begins, and the dataset follows, all the same."""
    taken(ticks.bench, tmp_path, 1)
    made_store.add_video(ticks.bench, 5)
    ahead = time.time() + 365 * 86400
    follow = {"event": 0, "declared": "another", "first": ahead, "last": ahead, "looked": ahead}
    ticks.cursors["dataset_follows"] = json.dumps(follow)
    ticks.cursors["nightly_refresh"] = json.dumps({"night": "2999-01-01T03:00:00+00:00"})
    assert len(merges_asked(ticks)) == 1
    ticks.tick("nightly_refresh")
    assert len(ticks.tick("nightly_refresh")) == 1


@pytest.mark.parametrize(
    ("schedule", "job"), [("hourly_quarantine", "quarantine_table"), ("nightly_retention", "event_log_retention")]
)
def test_a_schedule_whose_last_run_still_runs(ticks: Ticks, schedule: str, job: str) -> None:
    """What looks through everything takes longer than its interval: no second run is put behind the first."""
    assert len(ticks.schedule(schedule).run_requests) == 1
    running = ticks.queue(dg.RunRequest(), dg.DagsterRunStatus.STARTED, job=job)
    result = ticks.schedule(schedule)
    assert (result.run_requests, running.run_id in result.skip_message) == ([], True)
    ticks.instance.report_run_failed(running)
    assert len(ticks.schedule(schedule).run_requests) == 1
    assert ticks.definitions.resolve_job_def(job).execute_in_process(instance=ticks.instance).success


@pytest.mark.timeout(600)
def test_two_nights_in_the_daemon_with_kill_9_between(tmp_path: Path) -> None:
    """Two nights of several stale videos each in the real daemon, which is killed -9 between them."""
    night_h = 12 / 3600
    installed = Installation(
        tmp_path, sensors_every_s=1, refresh_limit=2, refresh_every_h=night_h, refresh_for_h=night_h
    )
    keys = sorted(taken(bench_of(installed), tmp_path, 4))
    with daemon_of(installed, at_once=0) as (daemon, instance):

        def nights() -> list[list[str]]:
            found: dict[str, list[str]] = {}
            for run in instance.get_runs(dg.RunsFilter(tags={"dagster/sensor_name": "nightly_refresh"})):
                partitions = partitions_of(run.tags, instance.get_dynamic_partitions("videos"))
                found.setdefault(run.tags["egoworld/night"], []).extend(partitions)
            return [sorted(found[night]) for night in sorted(found)]

        daemon.wait(instance, lambda: bool(nights()))
        daemon.kill()
        daemon.start()
        daemon.wait(instance, lambda: len(nights()) > 1 and len(nights()[1]) > 1)
        assert nights()[:2] == [keys[:2], keys[2:]]
