"""The flow as Dagster runs it: real instance, real runner subprocesses, a made-up stage at the end."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import pytest

from egoworld_assets.automation.inbox_sensor import inbox
from egoworld_assets.cli.flow import unexpected
from egoworld_assets.definitions import resources
from egoworld_assets.orchestration.batches import RANGE
from egoworld_assets.orchestration.registry import stages
from egoworld_assets.orchestration.request import Request
from egoworld_assets.orchestration.stage_assets import stage_assets
from egoworld_assets.quality import checks
from egoworld_resources.artifacts.manifest import Verdict
from egoworld_resources.artifacts.stage import Draft, Stage
from egoworld_resources.inbox.arrivals import Arrivals
from egoworld_resources.making.workbench import Outcome, Workbench
from tests.made_dagster import dagster_in
from tests.made_up import BRIGHTNESS, video, workbench


def bright_enough(draft: Draft) -> Verdict:
    """Some frame is bright."""
    levels = draft.table().column("level").to_pylist()
    return checks.verdict("bright_enough", "" if max(levels, default=0) > 100 else "it is dark throughout")


LIT = Stage("brightness", env="dimmer", inputs=BRIGHTNESS.inputs, checks=(bright_enough,))
MADE = stage_assets([stages()["videos"], stages()["clips"], LIT])
videos, clips, brightness = "videos", "clips", "brightness"


@dg.asset(deps=[brightness], partitions_def=MADE.partitions_def)
def behind() -> None:
    """What must not run when the check fails."""


ASSETS = [MADE, behind]


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    return workbench(tmp_path)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dagster_in(tmp_path / "dagster") as opened:
        yield opened


def arrive(bench: Workbench, instance: dg.DagsterInstance, *paths: Path) -> list[str]:
    keys = [Arrivals(bench.store).take(path).video for path in paths]
    instance.add_dynamic_partitions("videos", keys)
    return keys


def run(
    bench: Workbench,
    instance: dg.DagsterInstance,
    asset: str,
    keys: list[str],
    request: Request | None = None,
) -> dg.ExecuteInProcessResult:
    """One asset for a range of videos, as a backfill does it."""
    return dg.materialize(
        ASSETS,
        selection=[asset],
        instance=instance,
        resources=resources(bench, request),
        tags=dict(zip(RANGE, (keys[0], keys[-1]), strict=True)),
        raise_on_error=False,
    )


def test_a_batch_loads_the_model_once_and_keeps_videos_apart(
    bench: Workbench, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    loads: list[str] = []
    request = Request(listener=lambda stage, event: loads.append(stage) if event["event"] == "loaded" else None)
    keys = arrive(bench, instance, *(video(tmp_path / f"{n}.mp4", shots=(10 + n, 12)) for n in range(4)))
    for asset in (videos, clips, brightness):
        assert run(bench, instance, asset, keys, request).success
    assert loads == ["videos", "clips", "brightness"]
    for number, key in enumerate(keys):
        manifest = bench.store.current("brightness", key)
        assert manifest is not None
        assert manifest.rows == {"brightness": 22 + number}
        (record,) = instance.fetch_materializations(
            dg.AssetRecordsFilter(dg.AssetKey("brightness"), asset_partitions=[key]), limit=1
        ).records
        assert record.asset_materialization is not None
        assert record.asset_materialization.tags is not None
        assert record.asset_materialization.tags["dagster/data_version"] == manifest.data_version
        assert record.asset_materialization.metadata["rows/brightness"].value == 22 + number


def test_one_bad_video_in_a_batch_fails_the_run_and_costs_only_itself(
    bench: Workbench, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    (tmp_path / "bad.mp4").write_text("no pictures in here")
    keys = arrive(
        bench, instance, video(tmp_path / "a.mp4"), tmp_path / "bad.mp4", video(tmp_path / "c.mp4", shots=(9, 9))
    )
    result = run(bench, instance, videos, keys)
    assert not result.success
    assert instance.get_materialized_partitions(dg.AssetKey("videos")) == {keys[0], keys[2]}
    failure = result.get_step_failure_events()[0].step_failure_data
    assert "1 of 3 not made" in str(failure.user_failure_data and failure.user_failure_data.description)
    assert keys[1] in str(failure.user_failure_data)
    assert result.get_run_failure_event().event_type == dg.DagsterEventType.RUN_FAILURE
    assert len(result.events_for_node("stages")) > 0


def test_a_failed_check_blocks_what_follows_and_names_the_reason(
    bench: Workbench, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    (key,) = arrive(bench, instance, video(tmp_path / "dark.mp4", shots=(20,)))
    result = dg.materialize(
        ASSETS,
        instance=instance,
        resources=resources(bench),
        partition_key=key,
        raise_on_error=False,
    )
    assert not result.success
    (evaluation,) = [e for e in result.get_asset_check_evaluations() if not e.passed]
    assert evaluation.description == "bright_enough: it is dark throughout"
    assert instance.get_materialized_partitions(dg.AssetKey("behind")) == set()
    state = bench.state(LIT, key)
    assert (state.condition, state.why) == ("quarantined", "bright_enough: it is dark throughout")
    assert bench.rerun_command(LIT, key).endswith(f"quarantine/brightness/{key}/job.json")


def test_in_a_batch_the_quarantined_video_stays_behind_and_the_others_go_on(
    bench: Workbench, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    dark, lit = video(tmp_path / "dark.mp4", shots=(20,)), video(tmp_path / "lit.mp4")
    keys = arrive(bench, instance, dark, lit)
    for asset in (videos, clips):
        run(bench, instance, asset, keys)
    result = run(bench, instance, brightness, keys)
    assert result.success
    (evaluation,) = result.get_asset_check_evaluations()
    assert not evaluation.passed
    assert evaluation.severity == dg.AssetCheckSeverity.WARN
    assert list(evaluation.metadata["quarantined"].value) == [keys[0]]
    after = Stage("after", env="dimmer", inputs=("brightness",))
    assert bench.state(after, keys[0]).condition == "blocked"
    assert bench.state(LIT, keys[1]).condition == "fresh"


def test_a_whole_flow_of_good_videos_in_one_run_goes_through(
    bench: Workbench, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    keys = arrive(bench, instance, video(tmp_path / "a.mp4"), video(tmp_path / "b.mp4", shots=(9, 9)))
    result = dg.materialize(
        [MADE],
        instance=instance,
        resources=resources(bench),
        tags=dict(zip(RANGE, (keys[0], keys[-1]), strict=True)),
        raise_on_error=False,
    )
    assert result.success
    assert [bench.state(LIT, key).condition for key in keys] == ["fresh", "fresh"]


def told_of(instance: dg.DagsterInstance, asset: str, key: str) -> list[tuple[int, dict[str, str]]]:
    """Number and tags of all that Dagster was told of one video, the newest first."""
    wanted = dg.AssetRecordsFilter(dg.AssetKey(asset), asset_partitions=[key])
    records = instance.fetch_materializations(wanted, limit=10).records
    return [(record.storage_id, dict(record.event_log_entry.tags or {})) for record in records]


def inputs_in(tags: dict[str, str]) -> dict[str, str]:
    return {name: text for name, text in tags.items() if name.startswith("dagster/input_")}


@pytest.mark.parametrize("together", [True, False])
def test_each_video_of_a_range_says_which_versions_it_was_made_from(
    bench: Workbench, instance: dg.DagsterInstance, tmp_path: Path, together: bool
) -> None:
    """A stage a run as in a backfill, and all stages in one run."""
    keys = arrive(bench, instance, *(video(tmp_path / f"{n}.mp4", shots=(9 + n, 9)) for n in range(2)))
    names = [videos, clips, brightness]
    for selected in [names] if together else [[name] for name in names]:
        tags = dict(zip(RANGE, (keys[0], keys[-1]), strict=True))
        done = dg.materialize([MADE], selection=selected, instance=instance, resources=resources(bench), tags=tags)
        assert done.success
    values = {key: told_of(instance, "brightness", key)[0][1] for key in keys}
    for key in keys:
        for asset in ("videos", "clips"):
            version = bench.store.current(asset, key)
            assert version
            number, tags = told_of(instance, asset, key)[0]
            assert tags["dagster/data_version"] == version.data_version
            assert values[key][f"dagster/input_data_version/{asset}"] == version.data_version
            assert values[key][f"dagster/input_event_pointer/{asset}"] == str(number)
    single = dg.materialize(
        [MADE], selection=[brightness], instance=instance, resources=resources(bench), partition_key=keys[0]
    )
    assert single.success
    alone = told_of(instance, "brightness", keys[0])[0][1]
    assert inputs_in(alone) == inputs_in(values[keys[0]]), "a run of its own says the same"


class Flaky(Workbench):
    """A workbench whose store is out of reach for the first tries."""

    tries = 0
    healed_after = 1
    transient = True

    def make(self, stage: Stage, videos: object, run_id: str, force: bool = False) -> list[Outcome]:
        self.tries += 1
        if self.tries > self.healed_after:
            return super().make(stage, videos, run_id, force)  # type: ignore[arg-type]
        return [Outcome(v, "failed", "the store does not answer", transient=self.transient) for v in videos]  # type: ignore[attr-defined]


@pytest.mark.parametrize(("transient", "tries"), [(True, 2), (False, 1)])
def test_only_transient_faults_are_tried_again(
    bench: Workbench, instance: dg.DagsterInstance, tmp_path: Path, transient: bool, tries: int
) -> None:
    flaky = Flaky(bench.settings.model_copy(update={"retry_delay_s": 0.0}))
    flaky.transient = transient
    keys = arrive(flaky, instance, video(tmp_path / "a.mp4"))
    result = dg.materialize(
        [MADE],
        selection=[videos],
        instance=instance,
        resources=resources(flaky),
        partition_key=keys[0],
        raise_on_error=False,
    )
    assert (result.success, flaky.tries) == (transient, tries)


def tick(bench: Workbench, instance: dg.DagsterInstance, cursor: str | None) -> dg.SensorResult:
    context = dg.build_sensor_context(instance=instance, cursor=cursor, resources={"bench": bench})
    result = inbox(context)
    assert isinstance(result, dg.SensorResult)
    return result


def requests(result: dg.SensorResult) -> list[str]:
    return [str(request.partition_key) for request in result.run_requests or []]


def test_the_sensor_takes_every_file_once(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    bench = workbench(tmp_path, settle_s=0.0)
    folder = bench.settings.inbox_folder
    (folder / "day 1").mkdir(parents=True)
    video(folder / "day 1" / "Küche.mp4")
    (folder / "copy.mp4").write_bytes((folder / "day 1" / "Küche.mp4").read_bytes())
    first = tick(bench, instance, None)
    assert len(requests(first)) == 1, "the same bytes twice are one video"
    assert [len(r.partition_keys) for r in first.dynamic_partitions_requests or []] == [1]
    assert len(list(bench.store.records("duplicates"))) == 1
    instance.add_dynamic_partitions("videos", requests(first))
    assert {r.run_key for r in tick(bench, instance, first.cursor).run_requests or []} <= {
        r.run_key for r in first.run_requests or []
    }, "what is asked again has the old run key"
    video(folder / "day 1" / "Küche.mp4", shots=(8, 8))
    replaced = tick(bench, instance, first.cursor)
    assert requests(replaced) == requests(first), "new bytes under the old name run again"
    assert [r.run_key for r in replaced.run_requests or []] != [r.run_key for r in first.run_requests or []]


def test_a_tick_that_crashed_is_made_up_for(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    """The store took the file, but Dagster never heard of it: the next tick must say so again."""
    bench = workbench(tmp_path, settle_s=0.0)
    bench.settings.inbox_folder.mkdir(parents=True)
    video(bench.settings.inbox_folder / "a.mp4")
    lost = tick(bench, instance, None)
    again = tick(bench, instance, None)
    assert requests(again) == requests(lost) != []


def test_a_fault_of_ours_is_reported_and_not_taken_for_a_video_s(
    bench: Workbench, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    keys = arrive(bench, instance, video(tmp_path / "a.mp4"))
    broken = Broken(bench.settings)
    (fault,) = unexpected(run(broken, instance, videos, keys), videos)
    assert fault.startswith("videos: ")
    assert "no disk left for notes" in fault
    (tmp_path / "bad.mp4").write_text("no pictures in here")
    bad = arrive(bench, instance, tmp_path / "bad.mp4")
    assert unexpected(run(bench, instance, videos, bad), videos) == []


class Broken(Workbench):
    """A workbench with a defect."""

    def make(self, stage: Stage, videos: object, run_id: str, force: bool = False) -> list[Outcome]:
        raise OSError("no disk left for notes")


def opened(config: str) -> str:
    """What a process of its own says that opens the instance of a home; empty when all is well."""
    with_tables = (
        "from egoworld_assets.orchestration.instance import instance_of\n"
        "from egoworld_resources.making.workbench import Workbench\n"
        "from egoworld_resources.settings import Settings\n"
        "with instance_of(Workbench(Settings.load())) as instance: instance.get_dynamic_partitions('videos')\n"
    )
    env = {**os.environ, "EGOWORLD_HOME": config, "DAGSTER_HOME": ""}
    return subprocess.run([sys.executable, "-c", with_tables], env=env, capture_output=True, text=True).stderr


def test_several_that_start_at_once_on_a_new_home_all_find_the_tables(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as threads:
        said = list(threads.map(opened, [str(tmp_path / "data")] * 4))
    assert not [one for one in said if "Error" in one], said
