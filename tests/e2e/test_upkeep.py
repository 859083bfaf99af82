"""The nightly refresh: what it asks for, and where it stops."""

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.events import EngineEventData

from egoworld_assets.automation.dead_runs import end_dead_runs
from egoworld_assets.orchestration.batches import RANGE, batches
from egoworld_assets.orchestration.registry import stages
from egoworld_assets.planning.outdated import outdated
from egoworld_resources.inbox.arrivals import Arrivals
from egoworld_resources.making.workbench import Workbench
from tests.made_dagster import dagster_in
from tests.made_up import video, workbench
from tests.sensors import Ticks, instance_of

ALWAYS = {"refresh_for_h": 1e6, "refresh_every_h": 1e6}
"""One night without end."""


@dg.job
def nothing() -> None:
    """A job for runs that are never executed."""


def requests(bench: Workbench) -> list[dg.RunRequest]:
    """What one night asks for, the partitions laid out before it."""
    with instance_of(bench) as instance:
        ticks = Ticks(bench, instance)
        return [*ticks.tick("nightly_refresh"), *ticks.tick("nightly_refresh")]


def test_it_asks_for_what_is_missing_and_no_more_videos_than_allowed(tmp_path: Path) -> None:
    bench = workbench(tmp_path, refresh_limit=2, **ALWAYS)
    for number in range(3):
        Arrivals(bench.store).take(video(tmp_path / f"{number}.mp4", shots=(8 + number,)))
    first = requests(bench)
    keys = bench.store.keys("videos")
    assert [request.tags[tag] for request in first for tag in RANGE] == keys[:2], "two of three, in one run"
    names = [key.to_user_string() for key in first[0].asset_selection or []]
    assert names == list(stages()), "everything, inputs first"


def test_what_is_fresh_or_failed_under_the_same_recipe_is_left_alone(tmp_path: Path) -> None:
    bench = workbench(tmp_path, **ALWAYS)
    (tmp_path / "bad.mp4").write_text("no pictures in here")
    bad = Arrivals(bench.store).take(tmp_path / "bad.mp4").video
    good = Arrivals(bench.store).take(video(tmp_path / "good.mp4")).video
    for stage in ("videos", "clips"):
        bench.make(stages()[stage], [bad, good], "run")
    assert requests(bench)[0].tags["dagster/partition"] == good
    assert outdated(bench, stages().values(), bad) == []
    assert "clips" not in outdated(bench, stages().values(), good)


def test_batches_are_neighbours_and_no_more_than_one_load_serves() -> None:
    assert list(batches("abcdef", {"a", "b", "d", "f"}, 32)) == [["a", "b"], ["d"], ["f"]]
    assert list(batches("abcdef", set("abcde"), 2)) == [["a", "b"], ["c", "d"], ["e"]]


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED])
def test_a_run_whose_process_was_killed_is_ended_and_one_that_lives_is_not(
    tmp_path: Path, status: dg.DagsterRunStatus
) -> None:
    sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
    with (
        dagster_in(tmp_path) as instance,
        subprocess.Popen(sleeper) as living,
        subprocess.Popen(sleeper) as killed,
    ):
        runs: dict[int, dg.DagsterRun] = {}
        for process in (living, killed):
            run = runs[process.pid] = instance.create_run_for_job(nothing, status=status)
            instance.report_engine_event("Started process for run", run, EngineEventData.in_process(process.pid))
        unstarted = instance.create_run_for_job(nothing, status=dg.DagsterRunStatus.STARTING)
        assert end_dead_runs(instance) == []
        killed.kill()
        killed.wait()
        assert end_dead_runs(instance) == [runs[killed.pid].run_id]
        found = [instance.get_run_by_id(run.run_id) for run in (runs[killed.pid], runs[living.pid], unstarted)]
        living.kill()
        assert [run.status for run in found if run] == [dg.DagsterRunStatus.FAILURE, status, unstarted.status]
