"""A backfill over shards as a server does it: the daemon's, on Postgres and S3, with all that a run does."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from egoworld_assets.orchestration.registry import stages
from egoworld_assets.orchestration.shards import partition_of
from egoworld_resources.server import probes
from egoworld_resources.store.s3 import S3Store
from tests.made_server import MADE_S, in_env, server_up
from tests.made_up import video
from tests.servers import temporary_home
from tests.soak import BACKFILL, STALE
from tests.torture import sized

SHARDS, VIDEOS = 2, 6
MADE = list(stages())[: sized(3, len(stages()))]
"""One behind the other; the daemon looks at a backfill every 30 s, and then asks for the next."""
PARTS = ("postgres", "s3", "code-location", "webserver", "daemon")
KNOWN = """
import dagster as dg, json, sys
instance = dg.DagsterInstance.get()
assets = [dg.AssetKey(name) for name in sys.argv[1:]]
print(json.dumps({
    "partitions": sorted(instance.get_dynamic_partitions("videos")),
    "told": [sorted(instance.get_materialized_partitions(asset)) for asset in assets],
    "runs": instance.get_runs_count(),
    "storage": type(instance.event_log_storage).__name__,
}))
"""
STATUS = "query($id: String!) {partitionBackfillOrError(backfillId: $id) {... on PartitionBackfill {status}}}"


def queried(socket: Path, query: str, variables: dict[str, object]) -> dict[str, dict[str, str]]:
    """What the webserver answers."""
    body = json.dumps({"query": query, "variables": variables}).encode()
    answer = probes.fetch_at(socket, "/graphql", body, {"Content-Type": "application/json"})
    return json.loads(answer)["data"]


@pytest.mark.torture
@pytest.mark.long
@pytest.mark.timeout(1800)
def test_six_videos_in_two_shards(tmp_path: Path) -> None:
    with temporary_home() as home, server_up(home, PARTS, EGOWORLD_SHARDS=str(SHARDS)) as server:
        files = [video(tmp_path / f"{number}.mp4", shots=(8 + number,)) for number in range(VIDEOS)]
        taken = in_env(server, "egoworld", "ingest", *map(str, files))
        assert taken.returncode == 0, taken.stderr
        store = S3Store(server.parts.server.s3_as("reader"), tmp_path / "cache", 1 << 30)
        keys = store.keys("videos")
        shards = sorted({partition_of(key, SHARDS) for key in keys})
        assert (len(keys), len(shards)) == (VIDEOS, SHARDS)

        socket = server.parts.places.of("webserver")
        assets = [{"path": [name]} for name in MADE]
        begun = queried(socket, BACKFILL, {"names": shards, "assets": assets})["launchPartitionBackfill"]
        assert begun["__typename"] == "LaunchBackfillSuccess", begun

        def ended() -> str:
            status = queried(socket, STATUS, {"id": begun["backfillId"]})["partitionBackfillOrError"]["status"]
            if status in ("REQUESTED", "COMPLETED"):
                raise probes.Unhealthy(f"the backfill is {status}")
            return status

        assert probes.wait(ended, 2 * MADE_S) == "COMPLETED_SUCCESS"
        for stage in MADE:
            assert sorted(store.videos(stage)) == sorted(keys), "a status proves nothing: the artifacts do"
            for key in keys:
                manifest = store.current(stage, key)
                assert manifest
                assert store.verify(manifest) == []
        nodes: Any = queried(socket, STALE, {"partitions": shards})["assetNodes"]
        fresh = {node["assetKey"]["path"][0]: node["staleStatusByPartition"] for node in nodes}
        assert {name: fresh[name] for name in MADE} == {name: ["FRESH"] * len(shards) for name in MADE}, (
            "for Dagster too"
        )
        known = json.loads(in_env(server, sys.executable, "-c", KNOWN, *MADE).stdout.splitlines()[-1])
        assert known["storage"] == "PostgresEventLogStorage"
        assert known["partitions"] == shards
        assert known["told"] == [shards] * len(MADE)
        assert known["runs"] <= len(MADE) * SHARDS, "a run is over shards, not over videos"
