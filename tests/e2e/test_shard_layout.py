"""A home in use goes from a partition per video to shards and back, and a refresh under shards survives kill -9.

Each command is a process of its own, over the whole graph with a made-up model env.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest

from egoworld_assets.orchestration.registry import stages
from egoworld_assets.orchestration.shards import partition_of
from tests.made_graph import Installation
from tests.made_up import video

VIDEOS = 3


def videos_in(installed: Installation) -> list[str]:
    return sorted(p.stem for p in (installed.folder / "data" / "store" / "records" / "videos").glob("*.json"))


def lay_out(installed: Installation, shards: int) -> None:
    installed.settings["shards"] = shards
    installed.configure()


def dagster_of(installed: Installation) -> dg.DagsterInstance:
    return dg.DagsterInstance.from_config(str(installed.folder / "data" / "dagster"))


def metadata_of(instance: dg.DagsterInstance, asset: str, partition: str) -> dict[str, object]:
    found = instance.fetch_materializations(
        dg.AssetRecordsFilter(dg.AssetKey(asset), asset_partitions=[partition]), limit=1
    ).records[0]
    assert found.asset_materialization is not None
    return {name: value.value for name, value in found.asset_materialization.metadata.items()}


@pytest.fixture(scope="module")
def used(made_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """Two videos with all that is made of them, each its own partition."""
    return Installation.copy_of(made_home, tmp_path_factory.mktemp("used"))


def test_the_same_home_goes_to_shards_and_back(used: Installation) -> None:
    """Nothing is made again; Dagster's partitions become the shards, and are told of what is fresh."""
    before, keys = used.runs(), videos_in(used)
    lay_out(used, 2)
    assert used.plan()["steps"] == []
    used.make("refresh")
    shards = {partition_of(key, 2) for key in keys}
    assert used.runs() == before
    with dagster_of(used) as instance:
        assert set(instance.get_dynamic_partitions("videos")) == shards
        for stage in stages():
            counts = [metadata_of(instance, stage, shard) for shard in shards]
            assert shards <= instance.get_materialized_partitions(dg.AssetKey(stage))
            assert sum(int(str(count.get("videos", 1))) for count in counts) == len(keys)
    lay_out(used, 0)
    used.make("refresh")
    assert used.runs() == before
    with dagster_of(used) as instance:
        assert sorted(instance.get_dynamic_partitions("videos")) == keys


def test_a_plan_does_not_depend_on_the_layout(used: Installation) -> None:
    used.change("masks", "score")
    plans, lines = [], []
    for shards in (0, 1, 4096):
        lay_out(used, shards)
        plans.append(used.plan())
        lines.append(used.ask("refresh", "--plan"))
    assert len(plans[0]["steps"]) > 3
    assert plans[1:] == plans[:1] * 2
    assert lines[1:] == lines[:1] * 2


def test_a_refresh_of_one_video_leaves_the_others_of_its_shard(used: Installation) -> None:
    lay_out(used, 1)
    before, (one, *others) = used.runs(), videos_in(used)
    used.change("masks", "unused")
    used.make("refresh", one)
    after = used.runs()
    made = {key for asset, key in after if after[asset, key] != before.get((asset, key))}
    assert made == {one}
    with dagster_of(used) as instance:
        counts = metadata_of(instance, "masks", "shard-0-of-1")
    assert (counts["made"], counts["left"]) == (1, len(others))


def test_kill_9_in_the_middle_of_a_shard_costs_one_batch(tmp_path: Path) -> None:
    installed = Installation(tmp_path, shards=1, batch=1)
    paths = [video(tmp_path / f"{n}.mp4", shots=(8 + n,)) for n in range(VIDEOS)]
    installed.make("ingest", *map(str, paths))
    artifacts = tmp_path / "data" / "store" / "artifacts"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("EGOWORLD_")}
    command = [sys.executable, "-m", "egoworld_assets.cli", "refresh"]
    running = subprocess.Popen(
        command,
        env={**kept, "EGOWORLD_CONFIG": installed.config},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while len(list(artifacts.glob("clips/*/current.json"))) < 2:
        assert running.poll() is None
        time.sleep(0.02)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    before = installed.runs()
    assert len(before) < len(stages()) * VIDEOS, "it was in the middle"
    installed.make("refresh")
    after = installed.runs()
    assert {place: after[place] for place in before} == before, "what was made before is not made again"
    assert len(after) == len(stages()) * VIDEOS
    with dagster_of(installed) as instance:
        assert {int(str(metadata_of(instance, stage, "shard-0-of-1")["usable"])) for stage in stages()} == {VIDEOS}
    assert installed.plan()["steps"] == []
