"""Many videos to a partition, as Dagster runs them: real instance, real runner subprocesses, a made-up stage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from egoworld_assets.automation.inbox_sensor import inbox
from egoworld_assets.automation.night import Night
from egoworld_assets.definitions import resources
from egoworld_assets.orchestration.registry import stages
from egoworld_assets.orchestration.request import Request
from egoworld_assets.orchestration.shards import partition_of
from egoworld_resources.inbox.arrivals import Arrivals
from egoworld_resources.making.workbench import Workbench
from tests.e2e.test_dagster import LIT, MADE, Flaky
from tests.e2e.test_upkeep import ALWAYS
from tests.made_dagster import dagster_in
from tests.made_up import video, workbench
from tests.sensors import Ticks, instance_of

ASSETS = [MADE]
STAGES = [stages()["videos"], stages()["clips"], LIT]


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dagster_in(tmp_path / "dagster") as opened:
        yield opened


def tick(bench: Workbench, instance: dg.DagsterInstance, cursor: str | None) -> dg.SensorResult:
    """One tick of the inbox sensor; Dagster's part of it, the new partitions, is done too."""
    result = inbox(dg.build_sensor_context(instance=instance, cursor=cursor, resources={"bench": bench}))
    assert isinstance(result, dg.SensorResult)
    for request in result.dynamic_partitions_requests or []:
        instance.add_dynamic_partitions("videos", list(request.partition_keys))
    return result


def keys_of(result: dg.SensorResult) -> list[str]:
    return [str(request.partition_key) for request in result.run_requests or []]


def run(
    bench: Workbench, instance: dg.DagsterInstance, partition: str, request: Request | None = None
) -> dg.ExecuteInProcessResult:
    """The whole flow over one partition, as the sensor asks for it."""
    return dg.materialize(
        ASSETS, instance=instance, resources=resources(bench, request), partition_key=partition, raise_on_error=False
    )


def materialization_of(instance: dg.DagsterInstance, asset: str, partition: str) -> dg.AssetMaterialization:
    """What Dagster was told last."""
    found = instance.fetch_materializations(
        dg.AssetRecordsFilter(dg.AssetKey(asset), asset_partitions=[partition]), limit=1
    ).records[0]
    assert found.asset_materialization is not None
    return found.asset_materialization


def numbers(materialization: dg.AssetMaterialization, *names: str) -> list[object]:
    return [materialization.metadata[name].value for name in names]


def data_version(materialization: dg.AssetMaterialization) -> str:
    return (materialization.tags or {})["dagster/data_version"]


def heard(of: str, what: list[tuple[str, str]]) -> Request:
    """A request that notes the stage and the video, if any, of each event of a kind."""
    return Request(listener=lambda stage, e: what.append((stage, e.get("video", ""))) if e["event"] == of else None)


def test_arrivals_ask_for_their_shards_and_everything_gets_fresh(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    bench = workbench(tmp_path, settle_s=0.0, shards=2, batch=2)
    bench.settings.inbox_folder.mkdir(parents=True)
    for number in range(5):
        video(bench.settings.inbox_folder / f"{number}.mp4", shots=(8 + number, 12))
    first = tick(bench, instance, None)
    keys = bench.store.keys("videos")
    shards = {partition_of(key, 2) for key in keys}
    assert len(keys) == 5
    assert sorted(keys_of(first)) == sorted(shards), "one run a shard"
    assert set(instance.get_dynamic_partitions("videos")) == shards
    for shard in shards:
        assert run(bench, instance, shard).success
    assert {bench.state(stage, key).condition for stage in STAGES for key in keys} == {"fresh"}
    by_shard = [materialization_of(instance, "brightness", shard) for shard in sorted(shards)]
    assert sum(int(str(m.metadata["videos"].value)) for m in by_shard) == 5
    assert sum(int(str(m.metadata["rows/brightness"].value)) for m in by_shard) == sum(20 + n for n in range(5))

    before = {shard: data_version(materialization_of(instance, "brightness", shard)) for shard in shards}
    video(bench.settings.inbox_folder / "late.mp4", shots=(9, 9))
    second = tick(bench, instance, first.cursor)
    (late,) = set(bench.store.keys("videos")) - set(keys)
    assert partition_of(late, 2) in keys_of(second)
    started: list[tuple[str, str]] = []
    assert run(bench, instance, partition_of(late, 2), heard("start", started)).success
    assert {key for _, key in started} == {late}, "only the new one is made"
    after = materialization_of(instance, "brightness", partition_of(late, 2))
    assert numbers(after, "made") == [1]
    assert data_version(after) != before[partition_of(late, 2)], "another video, another data version of the shard"
    keys_then, keys_now = ({r.partition_key: r.run_key for r in t.run_requests or []} for t in (first, second))
    assert keys_now[partition_of(late, 2)] != keys_then[partition_of(late, 2)], "Dagster would not start it again"


def test_a_bad_video_costs_itself_and_is_listed_with_its_reason(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    bench = workbench(tmp_path, shards=1)
    (tmp_path / "bad.mp4").write_text("no pictures in here")
    paths = [video(tmp_path / "a.mp4"), tmp_path / "bad.mp4", video(tmp_path / "dark.mp4", shots=(20,))]
    good, bad, dark = [Arrivals(bench.store).take(path).video for path in paths]
    instance.add_dynamic_partitions("videos", ["shard-0-of-1"])
    result = run(bench, instance, "shard-0-of-1")
    assert result.success
    checks = {check.asset_key.to_user_string(): check for check in result.get_asset_check_evaluations()}
    assert [name for name, check in checks.items() if not check.passed] == ["videos", "brightness"]
    assert {check.severity for check in checks.values()} == {dg.AssetCheckSeverity.WARN}
    assert str(checks["videos"].description).startswith(f"1 failed of 3 videos: {bad}: ")
    assert bad in str(checks["videos"].metadata["failed"])
    assert good not in str(checks["videos"].metadata)
    assert (
        checks["brightness"].description == f"1 quarantined of 3 videos: {dark}: bright_enough: it is dark throughout"
    )
    names = ("videos", "usable", "made", "failed", "quarantined", "blocked", "left")
    assert numbers(materialization_of(instance, "videos", "shard-0-of-1"), *names) == [3, 2, 2, 1, 0, 0, 0]
    assert numbers(materialization_of(instance, "brightness", "shard-0-of-1"), *names) == [3, 1, 2, 0, 1, 1, 0]
    assert [bench.state(LIT, key).condition for key in (good, bad, dark)] == ["fresh", "blocked", "quarantined"]

    started: list[tuple[str, str]] = []
    version = data_version(materialization_of(instance, "brightness", "shard-0-of-1"))
    assert run(bench, instance, "shard-0-of-1", heard("start", started)).success
    assert started == [], "nothing that failed as it is is tried again beside others"
    assert data_version(materialization_of(instance, "brightness", "shard-0-of-1")) == version


def test_a_shard_of_which_nothing_goes_on_stops_there(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    bench = workbench(tmp_path, shards=1)
    for name in ("one", "two"):
        (tmp_path / f"{name}.mp4").write_text(f"no pictures in {name}")
        Arrivals(bench.store).take(tmp_path / f"{name}.mp4")
    instance.add_dynamic_partitions("videos", ["shard-0-of-1"])
    result = run(bench, instance, "shard-0-of-1")
    assert not result.success
    assert "2 of 2 not made" in str(result.get_step_failure_events()[0].step_failure_data)
    assert instance.get_materialized_partitions(dg.AssetKey("videos")) == set()


def test_a_range_of_shards_loads_a_model_once_a_batch(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    """Batches go across shards, and each shard is told by itself."""
    bench = workbench(tmp_path, shards=3, batch=4)
    keys = [Arrivals(bench.store).take(video(tmp_path / f"{n}.mp4", shots=(8 + n,))).video for n in range(6)]
    shards = sorted({partition_of(key, 3) for key in keys})
    instance.add_dynamic_partitions("videos", shards)
    loads: list[tuple[str, str]] = []
    result = dg.materialize(
        ASSETS,
        selection=["videos"],
        instance=instance,
        resources=resources(bench, heard("loaded", loads)),
        tags={"dagster/asset_partition_range_start": shards[0], "dagster/asset_partition_range_end": shards[-1]},
    )
    assert result.success
    assert [stage for stage, _ in loads] == ["videos", "videos"]
    assert instance.get_materialized_partitions(dg.AssetKey("videos")) == set(shards)
    assert {bench.state(STAGES[0], key).condition for key in keys} == {"fresh"}


class Crashing(Workbench):
    """A workbench whose process dies after a number of batches."""

    left = 1

    def make(self, *arguments: object, **more: object) -> list:  # type: ignore[type-arg, override]
        if self.left == 0:
            raise SystemExit("the machine lost its power")
        self.left -= 1
        return super().make(*arguments, **more)  # type: ignore[arg-type]


def test_what_a_batch_made_stays_when_the_next_one_is_lost(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    bench = workbench(tmp_path, shards=1, batch=2)
    keys = [Arrivals(bench.store).take(video(tmp_path / f"{n}.mp4", shots=(8 + n,))).video for n in range(5)]
    instance.add_dynamic_partitions("videos", ["shard-0-of-1"])
    crashing = Crashing(bench.settings)
    with pytest.raises(SystemExit):
        dg.materialize(
            ASSETS, selection=["videos"], instance=instance, resources=resources(crashing), partition_key="shard-0-of-1"
        )
    assert len(bench.store.videos("videos")) == 2
    started: list[tuple[str, str]] = []
    again = resources(bench, heard("start", started))
    assert dg.materialize(
        ASSETS, selection=["videos"], instance=instance, resources=again, partition_key="shard-0-of-1"
    ).success
    assert len(started) == 3, "the first batch is not made again"
    assert {bench.state(STAGES[0], key).condition for key in keys} == {"fresh"}


@pytest.mark.parametrize("shards", [0, 1])
def test_a_fault_of_the_moment_is_tried_again(tmp_path: Path, instance: dg.DagsterInstance, shards: int) -> None:
    bench = workbench(tmp_path, shards=shards, retry_delay_s=0.0)
    key = Arrivals(bench.store).take(video(tmp_path / "a.mp4")).video
    instance.add_dynamic_partitions("videos", [partition_of(key, shards)])
    flaky = Flaky(bench.settings)
    assert dg.materialize(
        ASSETS,
        selection=["videos"],
        instance=instance,
        resources=resources(flaky),
        partition_key=partition_of(key, shards),
    ).success
    assert flaky.tries == 2


def test_the_night_asks_for_shards_until_enough_videos_are_taken_on(tmp_path: Path) -> None:
    bench = workbench(tmp_path, shards=4, refresh_limit=2, **ALWAYS)
    keys = [Arrivals(bench.store).take(video(tmp_path / f"{n}.mp4", shots=(8 + n,))).video for n in range(9)]
    shards = sorted({partition_of(key, 4) for key in keys})
    counts = {shard: sum(partition_of(key, 4) == shard for key in keys) for shard in shards}
    with instance_of(bench) as instance:
        ticks = Ticks(bench, instance)
        assert ticks.tick("nightly_refresh") == [], "first the partitions are laid out"
        taken = [request.tags["dagster/partition"] for request in ticks.tick("nightly_refresh")]
        assert taken == shards[: len(taken)]
        assert sum(counts[shard] for shard in taken[:-1]) < 2 <= sum(counts[shard] for shard in taken)
        assert ticks.tick("nightly_refresh") == [], "that was it for the night"


def test_a_night_goes_once_around_from_where_the_last_one_came_to() -> None:
    night = Night("2026-01-02", "c", "c")
    seen: list[str] = []
    while night.rest("abcde"):
        seen += night.rest("abcde")[:1]
        night = night.behind(seen[-1])
    assert seen == ["d", "e", "a", "b", "c"]
    assert Night("2026-01-02").rest("ba") == ["a", "b"]


def test_the_night_drops_keys_of_another_layout_before_it_looks(tmp_path: Path) -> None:
    bench = workbench(tmp_path, shards=2, **ALWAYS)
    key = Arrivals(bench.store).take(video(tmp_path / "a.mp4")).video
    with instance_of(bench) as instance:
        ticks = Ticks(bench, instance)
        instance.add_dynamic_partitions("videos", [key, "shard-0-of-3"])
        assert ticks.tick("nightly_refresh") == []
        assert instance.get_dynamic_partitions("videos") == [partition_of(key, 2)]
        requests = ticks.tick("nightly_refresh")
        assert [request.tags["dagster/partition"] for request in requests] == [partition_of(key, 2)]
