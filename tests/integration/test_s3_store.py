"""What is particular to S3: crashes between requests, damage on the way, few requests, no secret anywhere."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from egoworld_resources.errors import BadConfiguration, DamagedArtifact, StoreRefused, StoreUnreachable
from egoworld_resources.s3.access import S3Access
from egoworld_resources.s3.buckets import Buckets, client
from egoworld_resources.s3.objects import PART
from egoworld_resources.server.s3_servers import S3Address
from egoworld_resources.store.s3 import S3Store
from egoworld_resources.store.s3_records import FEW
from tests.made_stores import BOUND, SERVERS, access_to, artifact, contents, environment, objects_of
from tests.wire import wire

PUT = """
import sys
from pathlib import Path
from egoworld_resources.artifacts.manifest import Manifest
from egoworld_resources.s3.access import S3Access
from egoworld_resources.store.s3 import S3Store

manifest = Manifest.model_validate_json(Path(sys.argv[1], "manifest").read_text())
store = S3Store(S3Access.load(), Path(sys.argv[1], "cache"), 1 << 30)
print("ready", flush=True)
store.put(Path(sys.argv[1], "new"), manifest)
"""
ONE = {"masks.parquet": b"one", "sub/points.ply": b"oneone"}


@pytest.fixture(params=SERVERS)
def at(request: pytest.FixtureRequest) -> S3Address:
    return request.getfixturevalue(request.param)


@pytest.fixture
def access(at: S3Address) -> S3Access:
    return access_to(at)


@pytest.fixture
def store(access: S3Access, tmp_path: Path) -> S3Store:
    return S3Store(access, tmp_path / "here", BOUND)


def put_and_die(folder: Path, access: S3Access, port: int, files: dict[str, bytes], at: int) -> int:
    """Put in a process that is killed when its ``at``-th request is half on its way; its exit status."""
    _, manifest = artifact(folder / "new", files)
    (folder / "manifest").write_text(manifest.model_dump_json())
    with wire(port, at, lambda: child.kill()) as between:
        env = {**os.environ, **environment(access), "S3_ENDPOINT": f"http://127.0.0.1:{between.port}"}
        child = subprocess.Popen([sys.executable, "-c", PUT, str(folder)], env=env, stdout=subprocess.DEVNULL)
        return child.wait()


@pytest.mark.parametrize("size", [20, PART + PART // 2], ids=["small", "in parts"])
def test_killed_at_any_request_a_reader_sees_the_old_or_the_new_whole(
    at: S3Address, access: S3Access, store: S3Store, tmp_path: Path, size: int
) -> None:
    _, first = artifact(tmp_path / "first", ONE)
    store.put(tmp_path / "first", first)
    new = {"masks.parquet": os.urandom(size), "sub/points.ply": b"two"}
    seen: list[str] = []
    status, request = -signal.SIGKILL, 0
    while status:
        request += 1
        status = put_and_die(tmp_path / f"try{request}", access, at.port, new, request)
        assert status in (0, -signal.SIGKILL)
        manifest = store.current("masks", "v")
        assert manifest is not None
        assert store.verify(manifest) == []
        seen.append(manifest.data_version)
    assert request > 5, "it was killed at every one of its requests"
    assert len(set(seen)) == 2
    assert seen == sorted(seen, key=seen.index), "once the new version is seen, the old one never comes back"
    other = S3Store(access, tmp_path / "there", BOUND)
    assert contents(other.folder(manifest)) == new


def test_only_one_of_many_creates_an_object(store: S3Store) -> None:
    wrote: list[bool] = []
    objects = objects_of(store)

    def create(number: int) -> None:
        wrote.append(objects.put("records/x", b"%d" % number, create=True))

    creators = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for creator in creators:
        creator.start()
    for creator in creators:
        creator.join()
    assert sorted(wrote) == [False] * 7 + [True]


@pytest.mark.parametrize("size", [20, PART + 100], ids=["small", "in parts"])
def test_a_file_that_is_not_what_its_manifest_says_is_not_stored(store: S3Store, tmp_path: Path, size: int) -> None:
    _, manifest = artifact(tmp_path / "new", {"masks.parquet": b"x" * size, "other": b"y"})
    (tmp_path / "new" / "masks.parquet").write_bytes(b"z" * size)
    with pytest.raises(DamagedArtifact, match=r"masks\.parquet is damaged"):
        store.put(tmp_path / "new", manifest)
    assert store.current("masks", "v") is None
    assert [o.key for o in store.objects("artifacts") if not o.key.endswith("other")] == []


@pytest.mark.parametrize("size", [20, PART * 2 + 100], ids=["small", "in parts"])
def test_damaged_bytes_are_found_on_the_way_in_and_nothing_of_them_stays(
    store: S3Store, access: S3Access, tmp_path: Path, size: int
) -> None:
    _, manifest = artifact(tmp_path / "new", {"masks.parquet": os.urandom(size), "other": b"y"})
    store.put(tmp_path / "new", manifest)
    key = f"artifacts/masks/v/{manifest.data_version}/masks.parquet"
    objects_of(store).put(key, os.urandom(size))
    reader = S3Store(access, tmp_path / "there", BOUND)
    with pytest.raises(DamagedArtifact, match=rf"s3://.*{key} is damaged"):
        reader.folder(manifest)
    assert [p for p in (tmp_path / "there").rglob("*") if p.name == "masks.parquet"] == []
    store.remove([key])
    with pytest.raises(DamagedArtifact, match=rf"{key} is missing"):
        reader.folder(manifest)
    with pytest.raises(DamagedArtifact, match="bring the video in again"):
        reader.source("0" * 64, ".mp4")


def test_what_a_killed_put_left_is_replaced_when_it_is_damaged(store: S3Store, tmp_path: Path) -> None:
    _, manifest = artifact(tmp_path / "new", ONE)
    objects_of(store).put(f"artifacts/masks/v/{manifest.data_version}/masks.parquet", b"eno")
    store.put(tmp_path / "new", manifest)
    assert store.verify(manifest) == []


def test_records_cost_a_request_for_a_thousand_and_only_changed_ones_are_fetched(
    at: S3Address, access: S3Access, store: S3Store, tmp_path: Path
) -> None:
    facts = {f"v{number:04}": json.dumps({"n": number}).encode() for number in range(2500)}
    objects = objects_of(store)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda item: objects.put(f"records/videos/{item[0]}.json", item[1]), facts.items()))
    with wire(at.port) as between:
        near = access.model_copy(update={"endpoint": f"http://127.0.0.1:{between.port}"})
        first = S3Store(near, tmp_path / "there", BOUND)
        assert [value["n"] for _, value in first.records("videos")] == list(range(2500))
        assert between.requests >= 2503
        store.record("videos", "v0007", {"n": -7})
        store.record("videos", "v0008", None)
        before = between.requests
        again = dict(S3Store(near, tmp_path / "there", BOUND).records("videos"))
        assert between.requests - before == 4, "three pages of names and one record"
        assert again["v0007"] == {"n": -7}
        assert len(again) == 2499
        (tmp_path / "there").joinpath(next(p.name for p in (tmp_path / "there").glob("*.sqlite"))).write_bytes(b"no")
        assert dict(S3Store(near, tmp_path / "there", BOUND).records("videos")) == again


def test_a_look_at_many_costs_few_requests_and_sees_what_it_writes(
    at: S3Address, access: S3Access, store: S3Store, tmp_path: Path
) -> None:
    count = 200
    for number in range(0, count, 2):
        store.record("failures", f"masks/v{number:04}", {"n": number})
    with wire(at.port) as between:
        near = access.model_copy(update={"endpoint": f"http://127.0.0.1:{between.port}"})
        for known in (False, True):
            before = between.requests
            looking = S3Store(near, tmp_path / "there", BOUND).bulk_view()
            seen = [looking.recorded("failures", f"masks/v{number:04}") for number in range(count)]
            assert seen == [{"n": n} if n % 2 == 0 else None for n in range(count)]
            spent = between.requests - before
            assert spent == (FEW + 1 if known else FEW + 1 + count // 2 - FEW // 2)
        looking.record("failures", "masks/v0199", {"n": "new"})
        looking.record("failures", "masks/v0198", None)
        for _ in range(FEW + 2):
            assert looking.recorded("failures", "masks/v0199") == {"n": "new"}
            assert looking.recorded("failures", "masks/v0198") is None


def test_an_unreadable_record_is_an_error_that_names_it(store: S3Store) -> None:
    objects_of(store).put("records/videos/a.json", b"{")
    with pytest.raises(DamagedArtifact, match=r"records/videos/a\.json cannot be read"):
        store.recorded("videos", "a")


def test_no_secret_is_shown(access: S3Access, store: S3Store, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    secret = access.secret_key.get_secret_value()
    caplog.set_level(logging.DEBUG)
    _, manifest = artifact(tmp_path / "new", ONE)
    store.put(tmp_path / "new", manifest)
    store.record("failures", "x", {"reason": "y"})
    Buckets(access).make()
    shown = [repr(store), repr(access), str(vars(store)), store.location(manifest), caplog.text]
    shown += [data.decode() for o in store.objects("") if (data := objects_of(store).get(o.key)) is not None]
    wrong = access.model_copy(update={"secret_key": type(access.secret_key)("wrong" + secret)})
    refused = S3Store(wrong, tmp_path / "there", BOUND)
    for failing in (refused.videos, lambda asset: refused.current(asset, "v"), lambda _: Buckets(wrong).make()):
        with pytest.raises(StoreRefused, match="SignatureDoesNotMatch") as caught:
            failing("masks")
        shown += [str(caught.value), str(caught.getrepr(style="short", chain=True))]
    assert [text for text in shown if secret in text] == []


def test_a_server_that_is_not_there_is_a_transient_error_that_says_what_to_check(
    access: S3Access, tmp_path: Path
) -> None:
    nobody = access.model_copy(update={"endpoint": "http://127.0.0.1:1"})
    with pytest.raises(StoreUnreachable, match="check S3_ENDPOINT"):
        S3Store(nobody, tmp_path / "here", BOUND).current("masks", "v")
    gone = access.model_copy(update={"bucket_name": "never-made"})
    with pytest.raises(BadConfiguration, match="egoworld buckets"):
        S3Store(gone, tmp_path / "there", BOUND).current("masks", "v")


def test_settings_that_are_wrong_are_named_without_their_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3_SECRET_KEY", "verysecret")
    with pytest.raises(BadConfiguration, match="S3_ENDPOINT: Field required; S3_ACCESS_KEY: Field required"):
        S3Access.load()
    monkeypatch.setenv("S3_ACCESS_KEY", "somebody")
    for endpoint in ("http://user:verysecret@host", "ftp://host", "host:9000"):
        monkeypatch.setenv("S3_ENDPOINT", endpoint)
        with pytest.raises(BadConfiguration, match="S3_ENDPOINT must be") as caught:
            S3Access.load()
        assert "verysecret" not in f"{caught.value!r}"
    monkeypatch.setenv("S3_ENDPOINT", "http://host")
    monkeypatch.setenv("S3_BUCKET_NAME", "No Bucket")
    with pytest.raises(BadConfiguration, match="S3_BUCKET_NAME must be"):
        S3Access.load()


def test_uploads_that_never_ended_are_named_and_given_up(versitygw: S3Address) -> None:
    access = access_to(versitygw)
    buckets, later = Buckets(access), datetime.now(UTC) + timedelta(hours=1)
    s3 = client(access, access.endpoint)
    begun = {"Bucket": access.bucket("artifacts"), "Key": "artifacts/masks/v/1/é.bin"}
    upload = s3.create_multipart_upload(**begun)["UploadId"]
    s3.upload_part(**begun, UploadId=upload, PartNumber=1, Body=b"x" * 100)
    assert buckets.unfinished("artifacts", later - timedelta(hours=2)) == []
    (found,) = buckets.unfinished("artifacts", later)
    assert found.key == begun["Key"]
    buckets.give_up("artifacts", found)
    assert buckets.unfinished("artifacts", later) == []


def test_a_link_works_for_a_browser_for_a_while(store: S3Store, tmp_path: Path) -> None:
    import urllib.error
    import urllib.request

    _, manifest = artifact(tmp_path / "new", {"contact sheet é.png": b"picture"})
    store.put(tmp_path / "new", manifest)
    link = store.link(manifest, "contact sheet é.png", seconds=60)
    assert link is not None
    with urllib.request.urlopen(link) as answer:
        assert answer.read() == b"picture"
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(link.partition("?")[0])
