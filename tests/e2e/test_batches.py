"""Batches all the way: what arrives together loads each model once, and each video still stands for itself."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from egoworld_assets.automation.pace import UNFINISHED
from egoworld_assets.definitions import build
from egoworld_assets.orchestration.batches import RANGE
from egoworld_assets.orchestration.registry import stages
from egoworld_assets.orchestration.request import Request
from egoworld_resources.making.workbench import Workbench
from tests.bad_videos import MP4
from tests.daemons import PATIENCE_S, bench_of, daemon_of
from tests.e2e.test_automation import in_the_middle, is_first_of_inbox, kill_tree, successors
from tests.e2e.test_dataset_follows import MATERIALIZE
from tests.faults import SLOW
from tests.made_graph import RUNNER, Installation
from tests.made_up import video
from tests.sensors import Ticks, instance_of, partitions_in
from tests.soak import Service

SHORT = {"sensors_every_s": 1, "settle_s": 0.0, "retry_delay_s": 0.5, "dataset_quiet_s": 1e6}
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def fill(bench: Workbench, good: int, bad: int = 0) -> None:
    """Put a number of videos into the inbox, and files that only begin as one does."""
    bench.settings.inbox_folder.mkdir(parents=True, exist_ok=True)
    for number in range(good):
        video(bench.settings.inbox_folder / f"good-{number}.mp4", shots=(8 + number,))
    for number in range(bad):
        (bench.settings.inbox_folder / f"bad-{number}.mp4").write_bytes(MP4 + bytes([number]) * 999)


def made_by(bench: Workbench) -> dict[tuple[str, str], str]:
    """The run that made each live artifact last, by stage and video."""
    return {
        (stage, key): made.run_id
        for stage in stages()
        for key in bench.store.videos(stage)
        if (made := bench.store.current(stage, key))
    }


def conditions(bench: Workbench) -> dict[str, set[str]]:
    """How the stages of each video stand."""
    looking = bench.snapshot()
    keys = bench.store.keys("videos")
    return {key: {looking.state(stage, key).condition for stage in stages().values()} for key in keys}


@pytest.fixture
def installed(tmp_path: Path) -> Installation:
    return Installation(tmp_path / "made", **SHORT)


@pytest.fixture
def ticks(installed: Installation) -> Iterator[Ticks]:
    bench = ticking(installed)
    with instance_of(bench) as instance:
        yield Ticks(bench, instance)


def ticking(installed: Installation, **more: float) -> Workbench:
    """A workbench whose sensors do not wait."""
    return Workbench(bench_of(installed).settings.model_copy(update={"settle_s": 0.0, **more}))


def execute(ticks: Ticks, request: dg.RunRequest, loads: Counter[str]) -> dg.ExecuteInProcessResult:
    """The run of a request, with the models that it loads."""

    def listen(stage: str, event: Any) -> None:
        loads[stage] += event["event"] == "loaded"

    job = build(ticks.bench, Request(listener=listen)).resolve_job_def("flow")
    return job.execute_in_process(
        instance=ticks.instance,
        tags={**request.tags, "dagster/run_key": str(request.run_key)},
        asset_selection=request.asset_selection,
        run_config=QUIET,
        raise_on_error=False,
    )


@pytest.mark.timeout(600)
def test_one_tick_is_one_run_that_loads_each_model_once(ticks: Ticks) -> None:
    """Eight files of which one is no video: seven get everything, and the run names the eighth."""
    bench, instance, loads = ticks.bench, ticks.instance, Counter[str]()
    fill(bench, good=7, bad=1)
    looked = ticks.look("inbox")
    instance.add_dynamic_partitions("videos", list(looked.dynamic_partitions_requests[0].partition_keys))
    (request,) = looked.run_requests
    assert partitions_in(instance, [request]) == bench.store.keys("videos")
    result = execute(ticks, request, loads)
    assert loads == dict.fromkeys(stages(), 1)
    (bad,) = [key for key, found in conditions(bench).items() if found != {"fresh"}]
    good = set(bench.store.keys("videos")) - {bad}
    assert all(instance.get_materialized_partitions(dg.AssetKey(stage)) == good for stage in stages())
    assert set(made_by(bench).values()) == {result.run_id}
    (failure,) = result.get_step_failure_events()
    data = failure.step_failure_data.user_failure_data
    assert data is not None
    assert str(data.description).startswith(f"videos: 1 of 8 not made: {bad}: "), "and no word of the stages behind"
    checks = {check.asset_key.to_user_string(): check for check in result.get_asset_check_evaluations()}
    assert set(checks) == set(stages())
    assert [name for name, check in checks.items() if not check.passed] == ["videos"]
    assert bad in str(checks["videos"].description)

    ticks.cursors["inbox"] = looked.cursor
    assert not ticks.look("inbox").run_requests, "the last file is told of again, and had its run"
    ticks.cursors["inbox"] = None
    assert not ticks.look("inbox").run_requests, "without its cursor the sensor asks for nothing twice"


def test_what_a_lost_tick_asked_for_is_asked_for_with_what_came_since(ticks: Ticks) -> None:
    """The daemon is killed before it has made the run: the next tick asks for these videos and the new one, once."""
    fill(ticks.bench, good=2)
    lost = ticks.look("inbox")
    ticks.instance.add_dynamic_partitions("videos", list(lost.dynamic_partitions_requests[0].partition_keys))
    fill(ticks.bench, good=3)
    (request,) = ticks.tick("inbox")
    assert partitions_in(ticks.instance, [request]) == ticks.bench.store.keys("videos")
    assert ticks.tick("inbox") == []


@pytest.mark.timeout(600)
def test_a_night_takes_what_lacks_the_same_together(ticks: Ticks, installed: Installation) -> None:
    """Four videos lack one stage after its parameter changed, a fifth lacks everything: two runs, a load a stage."""
    fill(ticks.bench, good=4)
    (arrived,) = ticks.tick("inbox")
    assert execute(ticks, arrived, Counter()).success
    fill(ticks.bench, good=5)
    ticks.tick("inbox")
    installed.change("masks", "score")
    bench = ticking(installed, refresh_for_h=1e6, refresh_every_h=1e6)
    night = Ticks(bench, ticks.instance)
    requests = night.tick("nightly_refresh")
    assert [len(partitions_in(ticks.instance, [request])) for request in requests] == [4, 1]
    for request in requests:
        loads = Counter[str]()
        assert execute(night, request, loads).success
        assert set(loads.values()) == {1}
    assert set().union(*conditions(bench).values()) == {"fresh"}
    assert night.tick("nightly_refresh") == []


@pytest.mark.timeout(900)
def test_the_daemon_makes_what_arrived_together_in_one_run(installed: Installation) -> None:
    bench = bench_of(installed)
    fill(bench, good=8)
    with daemon_of(installed) as (daemon, instance):
        daemon.wait(instance, lambda: len(bench.store.videos("episodes")) == 8 and quiet(instance))
        runs = instance.get_runs(dg.RunsFilter(tags={"dagster/sensor_name": "inbox"}))
        assert [run.status for run in runs] == [dg.DagsterRunStatus.SUCCESS]
        assert set(made_by(bench).values()) == {runs[0].run_id}
        assert len(made_by(bench)) == 8 * len(stages())


@pytest.mark.timeout(900)
def test_killed_in_the_middle_a_batch_goes_on_where_it_was(tmp_path: Path) -> None:
    """Kill -9 of the run's process with its models: what was made keeps its run, the rest comes from its successor."""
    installed = Installation(tmp_path / "made", SLOW, **SHORT)
    bench = bench_of(installed)
    fill(bench, good=4)
    with daemon_of(installed) as (daemon, instance):
        run, process = in_the_middle(daemon, instance, is_first_of_inbox)
        daemon.wait(instance, lambda: bool(bench.store.videos("hand_poses")))
        kill_tree(process.pid)
        before = made_by(bench)
        daemon.wait(instance, lambda: len(bench.store.videos("episodes")) == 4 and quiet(instance))
        (successor,) = successors(instance, run.run_id)
        after = made_by(bench)
        assert set(before.values()) == {run.run_id}
        assert {at: after[at] for at in before} == before, "nothing that was there was made again"
        assert {by for at, by in after.items() if at not in before} == {successor.run_id}
        assert set().union(*conditions(bench).values()) == {"fresh"}
        keys = set(bench.store.keys("videos"))
        assert all(instance.get_materialized_partitions(dg.AssetKey(stage)) == keys for stage in stages())


def quiet(instance: dg.DagsterInstance) -> bool:
    return not instance.get_runs_count(dg.RunsFilter(statuses=UNFINISHED))


@pytest.mark.timeout(900)
def test_a_backfill_of_a_range_and_a_stage_made_alone_in_the_ui(tmp_path: Path) -> None:
    """A range with one video that fails at its tracks: one run, the rest is whole; then that stage alone, repaired."""
    installed = Installation(tmp_path / "made", **SHORT)
    bench = bench_of(installed)
    installed.make("ingest", *(str(video(tmp_path / f"{n}.mp4", shots=(8 + n,))) for n in range(3)))
    first, bad, last = bench.store.keys("videos")
    run = "class Tracks(Runner):\n    writes = (tables.TrackPoint,)\n\n    def run(self, clip, inputs, params):\n"
    refuse = f"        if clip.video == {bad!r}:\n            raise ValueError('lost in the fog')\n"
    own = installed.runner.with_name("tracking.py")
    own.write_text(RUNNER.replace(run, run + refuse), encoding="utf-8")
    pyproject = own.with_name("pyproject.toml")
    pyproject.write_text(pyproject.read_text().replace("runner:Tracks", "tracking:Tracks"), encoding="utf-8")
    bench = bench_of(installed)
    service = Service(tmp_path, installed.config)
    with dg.DagsterInstance.from_config(str(bench.layout.dagster)) as instance:
        try:
            service.backfill([first, bad, last])
            until(service, lambda: bool(ended(instance, "dagster/backfill")))
            (backfill,) = ended(instance, "dagster/backfill")
            assert [backfill.tags[tag] for tag in RANGE] == [first, last]
            assert backfill.status == dg.DagsterRunStatus.FAILURE
            found = {key: bench.state(stages()["tracks"], key).condition for key in (first, bad, last)}
            assert found == {first: "fresh", bad: "failed", last: "fresh"}
            assert set(bench.store.videos("episodes")) == {first, bad, last}, "tracks are optional there"
            lacking = set(stages()) - {stage for stage, key in made_by(bench) if key == bad}
            assert lacking == {"tracks", *(n for n, stage in stages().items() if "tracks" in stage.inputs)}
            before = made_by(bench)

            own.write_text(RUNNER, encoding="utf-8")
            tags = [{"key": "dagster/partition", "value": bad}]
            launched = service.asked(MATERIALIZE, assets=[{"path": ["tracks"]}], tags=tags)["launchPipelineExecution"]
            assert launched["__typename"] == "LaunchRunSuccess", launched
            fixed = bench_of(installed)
            until(service, lambda: fixed.store.current("tracks", bad) is not None and quiet(instance))
            after = made_by(fixed)
            assert {at for at in after if after[at] != before.get(at)} == {("tracks", bad)}, "nothing beside it"
        finally:
            service.stop()


def ended(instance: dg.DagsterInstance, tag: str) -> list[dg.DagsterRun]:
    """Runs with a tag, once all that there are have ended."""
    return [run for run in instance.get_runs() if tag in run.tags] if quiet(instance) else []


def until(service: Service, what: Callable[[], bool]) -> None:
    """Until it is so, or the test fails with what the service said."""
    end = time.monotonic() + PATIENCE_S
    while not what():
        if time.monotonic() > end:
            pytest.fail(f"it never came\n{(service.folder / 'service.log').read_text()[-4000:]}")
        time.sleep(0.2)
