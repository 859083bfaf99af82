"""The inbox bucket on real servers: every object once whatever crashes, and the same answers as a folder gives."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import dagster as dg
import pytest

from egoworld_assets.automation import inbox_sensor
from egoworld_assets.automation.inbox_sensor import inbox
from egoworld_assets.cli import status
from egoworld_resources.inbox import bucket
from egoworld_resources.inbox.arrivals import Arrivals
from egoworld_resources.inbox.bucket import BucketInbox, read_cursor
from egoworld_resources.making.workbench import Workbench
from egoworld_resources.s3.access import S3Access
from egoworld_resources.s3.buckets import client
from egoworld_resources.server.s3_servers import S3Address
from tests.bad_videos import MP4
from tests.made_stores import SERVERS, access_to, environment
from tests.made_up import workbench
from tests.sensors import take_in
from tests.waiting import wait_for
from tests.wire import wire

TICK = """
import sys
from pathlib import Path
from egoworld_resources.inbox.arrivals import Arrivals
from egoworld_resources.inbox.bucket import BucketInbox
from egoworld_resources.s3.access import S3Access
from egoworld_resources.store.s3 import S3Store

access = S3Access.load()
arrivals = Arrivals(S3Store(access, Path(sys.argv[1]), 1 << 30))
print(BucketInbox(access, Path(sys.argv[1])).tick(arrivals, sys.argv[2], 3).cursor)
"""


@pytest.fixture(params=SERVERS)
def at(request: pytest.FixtureRequest) -> S3Address:
    return request.getfixturevalue(request.param)


@pytest.fixture
def access(at: S3Address, monkeypatch: pytest.MonkeyPatch) -> S3Access:
    made = access_to(at)
    for name, value in environment(made).items():
        monkeypatch.setenv(name, value)
    return made


@pytest.fixture
def bench(access: S3Access, tmp_path: Path) -> Workbench:
    assert access.endpoint
    return workbench(tmp_path)


def upload(access: S3Access, objects: dict[str, bytes]) -> None:
    """Objects that begin as an MP4 does, but for those without bytes."""
    s3 = client(access, access.endpoint)
    for key, data in objects.items():
        s3.put_object(Bucket=access.bucket("inbox"), Key=key, Body=data and MP4 + data)


def bucket_of(bench: Workbench) -> BucketInbox:
    assert isinstance(bench.inbox, BucketInbox)
    return bench.inbox


def states(bench: Workbench, cursor: str | None = None) -> tuple[dict[str, str], str]:
    tick = bench.inbox.tick(Arrivals(bench.store), cursor, 200)
    return {a.name: a.state for a in tick.taken}, tick.cursor


def tick_and_die(cache: Path, port: int, at: int) -> int:
    """A first tick in a process that is killed when its ``at``-th request is half on its way; its exit status."""
    with wire(port, at, lambda: child.kill()) as between:
        env = {**os.environ, "S3_ENDPOINT": f"http://127.0.0.1:{between.port}"}
        child = subprocess.Popen([sys.executable, "-c", TICK, str(cache), ""], env=env, stdout=subprocess.DEVNULL)
        return child.wait()


def test_every_object_is_asked_for_once_though_every_second_tick_is_lost(
    access: S3Access, bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket, "PAGE", 4)
    monkeypatch.setattr(bucket, "PAGES", 2)
    monkeypatch.setattr(inbox_sensor, "TAKEN_PER_TICK", 3)
    upload(access, {f"day {n % 2}/{n:02}.mp4": f"video {n}".encode() for n in range(20)})
    requests: Counter[str] = Counter()
    cursor: str | None = None
    with dg.DagsterInstance.ephemeral() as instance:
        for number in range(40):
            if number == 20:
                upload(access, {"day 0/first of all.mp4": b"late"})
            result = inbox(dg.build_sensor_context(instance=instance, cursor=cursor, resources={"bench": bench}))
            assert isinstance(result, dg.SensorResult)
            if number % 2:
                requests.update(take_in(instance, result))
                cursor = result.cursor
    assert len(requests) == 21
    assert set(requests.values()) == {1}
    assert len(list(bench.store.records("videos"))) == 21


def test_killed_at_any_request_of_a_tick_nothing_is_lost_or_doubled(
    at: S3Address, access: S3Access, bench: Workbench, tmp_path: Path
) -> None:
    upload(access, {f"{n}.mp4": f"video {n}".encode() for n in range(3)})
    status, request = -signal.SIGKILL, 0
    while status:
        request += 2
        status = tick_and_die(tmp_path / "killed", at.port, request)
        assert status in (0, -signal.SIGKILL)
    assert request > 5
    taken, _ = states(bench)
    assert taken == {f"{n}.mp4": "unchanged" for n in range(3)}, "Dagster never heard of them: they are told again"
    owners = [facts["video"] for _, facts in bench.store.records("owners")]
    assert sorted(owners) == sorted(key for key, _ in bench.store.records("videos"))
    assert list(bench.store.records("duplicates")) == []


def test_new_replaced_duplicate_and_unchanged_as_in_a_folder(access: S3Access, bench: Workbench) -> None:
    upload(access, {"a.mp4": b"one", "b.mp4": b"one", "day/Küche 1+%25.MOV": b"two", "folder/": b""})
    first, cursor = states(bench)
    assert first == {"a.mp4": "new", "day/Küche 1+%25.MOV": "new"}
    assert [facts["name"] for _, facts in bench.store.records("duplicates")] == ["b.mp4"]
    again, cursor = states(bench, cursor)
    assert again == {}
    upload(access, {"a.mp4": b"three"})
    replaced, cursor = states(bench, cursor)
    assert replaced == {"a.mp4": "replaced"}
    facts = next(facts for _, facts in bench.store.records("videos") if facts["name"] == "a.mp4")
    assert bench.store.source(facts["sha256"], facts["suffix"]).read_bytes() == MP4 + b"three"
    for index in bench.layout.home.rglob("inbox-*.sqlite"):
        index.unlink()
    assert states(bench, cursor)[0] == {"a.mp4": "unchanged", "day/Küche 1+%25.MOV": "unchanged"}, (
        "the index only helps"
    )


def test_refused_and_waiting_objects_are_shown_until_they_are_mended(access: S3Access, bench: Workbench) -> None:
    upload(access, {"empty.mp4": b"", "half.mp4.part": b"x", "good.mp4": b"y"})
    first = bench.inbox.tick(Arrivals(bench.store), None, 200)
    assert first.refused == ["'empty.mp4' is empty (0 bytes); copy it again"]
    shown = {entry["name"]: (entry["state"], entry["why"]) for entry in status.left_out(bench)}
    assert shown["empty.mp4"] == ("refused", "'empty.mp4' is empty (0 bytes); copy it again")
    assert shown["half.mp4.part"][0] == "waiting"
    assert set(shown) == {"empty.mp4", "half.mp4.part"}
    second = bench.inbox.tick(Arrivals(bench.store), first.cursor, 200)
    assert second.refused == [], "it is told once"
    client(access, access.endpoint).delete_object(Bucket=access.bucket("inbox"), Key="empty.mp4")
    bench.inbox.tick(Arrivals(bench.store), second.cursor, 200)
    assert [entry["name"] for entry in status.left_out(bench)] == ["half.mp4.part"]


def test_big_objects_are_read_beside_the_ticks(
    access: S3Access, bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket, "BIG", len(MP4) + 10)
    upload(access, {"big.mp4": b"x" * 11, "small.mp4": b"y"})
    first, cursor = states(bench)
    assert first == {"small.mp4": "new"}
    later: dict[str, str] = {}

    def it_was_read() -> bool:
        later.update(states(bench, cursor)[0])
        return bool(later)

    wait_for(it_was_read)
    assert later == {"big.mp4": "new"}


def test_a_tick_that_has_no_time_left_goes_on_where_it_stopped(access: S3Access, tmp_path: Path) -> None:
    upload(access, {f"{n}.mp4": f"{n}".encode() for n in range(3)})
    bench = workbench(tmp_path)
    passed = iter(range(0, 10_000, 15))
    slow = BucketInbox(access, tmp_path / "cache", clock=lambda: float(next(passed)))
    first = slow.tick(Arrivals(bench.store), None, 200)
    assert [a.name for a in first.taken] == ["0.mp4"]
    assert read_cursor(first.cursor)[0] == "0.mp4"
    assert [a.name for a in slow.tick(Arrivals(bench.store), first.cursor, 200).taken] == ["1.mp4"]
