"""Postgres goes away under a running server and comes back: nothing is lost, nobody is blamed, the work goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from egoworld_resources.s3.objects import Objects
from egoworld_resources.server import probes
from egoworld_resources.server.running import Server
from egoworld_resources.store.s3 import S3Store
from tests.made_server import in_env, in_proxy
from tests.made_up import video

AWAY_S = 10.0
"""Longer than Dagster itself tries to connect again."""
READY_S = 450.0
RUNS = (
    '{runsOrError(filter:{tags:[{key:"dagster/partition",value:"%s"}]})'
    "{... on Runs{results{status stepStats{status}}}}}"
)


@pytest.fixture
def store(attacked_server: Server, tmp_path: Path) -> S3Store:
    return S3Store(attacked_server.parts.server.s3_as("reader"), tmp_path / "cache", 1 << 30)


def runs_of(server: Server, key: str) -> list[dict[str, Any]]:
    """The runs of a video, as the UI shows them. Raises Unhealthy when it does not answer."""
    status, text = in_proxy(server, "operator", "/graphql", json.dumps({"query": RUNS % key}).encode())
    data = json.loads(text).get("data") if status == 200 else None
    if not data:
        raise probes.Unhealthy(text)
    return data["runsOrError"]["results"]


def arrived(store: S3Store, name: str) -> str:
    """The key of a video, once it was taken in."""
    for key, facts in store.records("videos"):
        if facts["name"] == name:
            return key
    raise probes.Unhealthy(f"{name} was not taken in")


def at_work(server: Server, store: S3Store, name: str) -> str:
    """The key of a video of which a step is under way."""
    key = arrived(store, name)
    if not any(step["status"] == "IN_PROGRESS" for run in runs_of(server, key) for step in run["stepStats"]):
        raise probes.Unhealthy(f"no step of {key} is under way")
    return key


def ended(server: Server, key: str) -> str:
    """The status of the last run of a video, once none is under way and the last one was a success."""
    statuses = [run["status"] for run in runs_of(server, key)]
    if statuses[0] != "SUCCESS" or not set(statuses) <= {"SUCCESS", "FAILURE"}:
        raise probes.Unhealthy(f"runs of {key}: {statuses}")
    return statuses[0]


def healthy(server: Server) -> str:
    """What `make ps` says of each part."""
    sick = {part.name: part.said for part in server.health() if not part.healthy}
    if sick:
        raise probes.Unhealthy(str(sick))
    return "healthy"


def live(store: S3Store, key: str) -> dict[str, str]:
    """The data version of every artifact of a video."""
    return dict(versions(store, key))


def versions(store: S3Store, key: str) -> Iterator[tuple[str, str]]:
    for asset in store.assets():
        if made := store.current(asset, key):
            yield asset, made.data_version


@pytest.mark.timeout(1200)
def test_postgres_is_away_amid_a_run(attacked_server: Server, store: S3Store, tmp_path: Path) -> None:
    """Postgres is stopped amid a run for ten seconds: nothing made is lost, no video is blamed, the rest is made."""
    server, name = attacked_server, "uploader/through-the-night.mp4"
    video(tmp_path / "video.mp4", shots=(9, 7), size=(32, 32))
    uploader = server.parts.server.s3_as("uploader")
    Objects(uploader, uploader.bucket("inbox")).put(name, (tmp_path / "video.mp4").read_bytes())
    key = probes.wait(lambda: at_work(server, store, name), READY_S)
    made = live(store, key)
    server.supervisor.stop_parts(["postgres"])
    time.sleep(AWAY_S)
    assert made.items() <= live(store, key).items()
    server.supervisor.start_part("postgres")
    probes.wait(lambda: ended(server, key), READY_S)
    status = json.loads(in_env(server, "egoworld", "status", key, "--json").stdout)
    assert {entry["state"] for entry in status["assets"]} == {"fresh"}
    assert made.items() <= live(store, key).items()
    assert [kind for kind in ("failures", "quarantine", "refusals") for one in store.keys(kind) if key in one] == []
    assert probes.wait(lambda: healthy(server), READY_S) == "healthy"
