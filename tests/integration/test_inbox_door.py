"""The door of the inbox, a folder or a bucket on real servers: what is no video never becomes one and delays none."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest
from botocore.exceptions import ClientError

from egoworld_assets.automation import inbox_sensor
from egoworld_assets.automation.inbox_sensor import inbox
from egoworld_assets.cli import status
from egoworld_resources.inbox import arrivals as arrivals_module
from egoworld_resources.inbox import bucket
from egoworld_resources.making.workbench import Workbench
from egoworld_resources.s3.access import S3Access
from egoworld_resources.s3.buckets import client
from tests.bad_videos import MP4
from tests.made_stores import KINDS, access_to, environment
from tests.made_up import workbench
from tests.sensors import take_in

Upload = Callable[[str, bytes], None]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def bench(kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workbench:
    if kind != "folder":
        for name, value in environment(access_to(request.getfixturevalue(kind))).items():
            monkeypatch.setenv(name, value)
    made = workbench(tmp_path, settle_s=0.0)
    if kind == "folder":
        made.settings.inbox_folder.mkdir(parents=True)
    return made


@pytest.fixture
def upload(bench: Workbench, kind: str) -> Upload:
    def to_folder(name: str, data: bytes) -> None:
        path = bench.settings.inbox_folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def to_bucket(name: str, data: bytes) -> None:
        access = S3Access.load()
        client(access, access.endpoint).put_object(Bucket=access.bucket("inbox"), Key=name, Body=data)

    return to_folder if kind == "folder" else to_bucket


class Ticks:
    """The sensor, tick after tick."""

    def __init__(self, bench: Workbench, instance: dg.DagsterInstance) -> None:
        self._bench, self._instance = bench, instance
        self.cursor: str | None = None

    def next(self) -> tuple[list[str], str]:
        """The videos that it asks runs for, by their names in the inbox, and what it says when it asks for none."""
        made = {"instance": self._instance, "cursor": self.cursor, "resources": {"bench": self._bench}}
        result = inbox(dg.build_sensor_context(**made))
        assert isinstance(result, dg.SensorResult)
        self.cursor = result.cursor
        names = {key: facts["name"] for key, facts in self._bench.store.records("videos")}
        message = (
            result.skip_reason.skip_message if isinstance(result.skip_reason, dg.SkipReason) else result.skip_reason
        )
        return [names[key] for key in take_in(self._instance, result)], message or ""


@pytest.fixture
def ticks(bench: Workbench) -> Iterator[Ticks]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Ticks(bench, instance)


def refused(bench: Workbench) -> dict[str, str]:
    return {entry["name"]: entry["why"] for entry in status.left_out(bench) if entry["state"] == "refused"}


def test_junk_gets_neither_partition_nor_run_and_the_video_behind_it_is_taken_at_once(
    bench: Workbench, upload: Upload, ticks: Ticks
) -> None:
    for number in range(24):
        upload(f"a/junk {number:02}.mp4", f"no pictures {number}\n".encode())
    upload("z/kitchen.mp4", MP4 + b"1")
    assert ticks.next()[0] == ["z/kitchen.mp4"]
    assert len(refused(bench)) == 24
    assert refused(bench)["a/junk 07.mp4"].startswith("'a/junk 07.mp4' is a text; put video files into the inbox")
    assert len(list(bench.store.records("videos"))) == 1
    upload("a/junk 07.mp4", MP4 + b"good now")
    assert [name for name in ticks.next()[0] if name.startswith("a/")] == ["a/junk 07.mp4"]
    assert len(refused(bench)) == 23
    assert ticks.next()[1] == "", "what was refused is said once"


def test_it_is_said_once_even_to_a_server_that_was_started_again(
    bench: Workbench, upload: Upload, ticks: Ticks, tmp_path: Path
) -> None:
    upload("notes.txt", b"a text\n")
    assert "'notes.txt' is a text" in ticks.next()[1]
    for file in (tmp_path / "home").rglob("inbox-*.sqlite*"):
        file.unlink()
    ticks.cursor = None
    assert ticks.next() == ([], "")
    assert set(refused(bench)) == {"notes.txt"}


def test_files_of_camera_cards_are_one_line(bench: Workbench, upload: Upload, ticks: Ticks) -> None:
    for name in ("GX1.LRV", "GX1.THM", "DJI.SRT", "._GX1.MP4", "Thumbs.db"):
        upload(f"card/{name}", MP4 + b"low")
    upload("card/GX1.MP4", MP4 + b"high")
    assert ticks.next()[0] == ["card/GX1.MP4"]
    (line,) = status.left_out(bench)
    assert (line["state"], line["why"].split(",")[0]) == ("aside", "5 such files")


def test_the_memory_of_what_was_refused_is_bounded(
    bench: Workbench, upload: Upload, ticks: Ticks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrivals_module, "MOST_REFUSED", 5)
    for number in range(12):
        upload(f"anna/{number:02}.txt", f"{number}".encode())
    upload("ben/1.txt", b"1")
    upload("ben/2.mp4", MP4)
    assert ticks.next()[0] == ["ben/2.mp4"]
    assert len(refused(bench)) == 6


def test_an_uploader_with_much_delays_no_other(
    bench: Workbench, upload: Upload, ticks: Ticks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket, "PAGE", 5)
    monkeypatch.setattr(inbox_sensor, "TAKEN_PER_TICK", 8)
    for number in range(30):
        upload(f"anna/{number:02}.mp4", MP4 + b"%d" % number)
    upload("ben/one.mp4", MP4 + b"one")
    upload("zoe/two.mp4", MP4 + b"two")
    first = ticks.next()[0]
    assert {"ben/one.mp4", "zoe/two.mp4"} <= set(first)
    assert len(first) == 8
    taken = {name for _ in range(6) for name in ticks.next()[0]} | set(first)
    assert len(taken) == 32


def test_names_that_attack_break_no_listing(bench: Workbench, upload: Upload, ticks: Ticks, kind: str) -> None:
    names = [
        *("a/turned \u202e4pm.exe.mp4", "a/new\nline.mp4", "a/bell\x07 escape\x1b[31m.mp4", "a/Case.mp4", "a/case.mp4"),
        *("a/%2e%2e%2fx.mp4", "a/ .mp4", "a/[red]x[/red].mp4", f"a/{'l' * 240}.mp4", "a/-rf.mp4", "a/<Key>&amp;.mp4"),
    ]
    hopeless = ["a/../../../out.mp4", "../out.mp4", f"a/{'l' * 10_000}.mp4", "a/\x00.mp4", "a/\x01\x02.mp4"]
    for number, name in enumerate(names):
        upload(name, MP4 + b"%d" % number)
    for name in hopeless if kind != "folder" else ():
        try:
            upload(name, MP4 + name.encode())
        except (ClientError, ValueError):
            continue
    got = ticks.next()[0]
    wrong = {name for name, why in refused(bench).items() if "lists its name wrong" in why}
    assert len(wrong) == (2 if kind == "versitygw" else 0)
    found = {
        name for name in [*got, *wrong] if "out" not in name and "a/\\x01" not in name and name != "a/\ufffd\ufffd.mp4"
    }
    assert len(found) == len(names)
    assert not [name for name in got if any(c in name for c in "\x1b\n\u202e")]
    home = bench.settings.home
    done = subprocess.run(
        [sys.executable, "-m", "egoworld_assets.cli", "status"],
        env={**os.environ, "EGOWORLD_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not list(home.parent.rglob("out.mp4"))
