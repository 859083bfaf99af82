"""What every store does, on a folder and on two real S3 servers."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from egoworld_resources.artifacts.manifest import file_digest
from egoworld_resources.errors import DamagedArtifact
from egoworld_resources.leases.scratch import scratch_file
from egoworld_resources.store.protocol import Store
from tests.made_stores import KINDS, AnyStore, Place, artifact, contents, place

ONE = {"masks.parquet": b"one", "sub/points.ply": b"oneone", "empty": b""}
TWO = {"masks.parquet": b"two", "sub/points.ply": b"twotwo", "more/日本 é e\u0301 #1%20?x~*[b]{c}&'.txt": b"\0\xff"}


@pytest.fixture(params=KINDS)
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return place(request.param, request, tmp_path)


@pytest.fixture
def store(kept: Place, tmp_path: Path) -> AnyStore:
    return kept.open(tmp_path / "here")


@pytest.mark.parametrize("files", [ONE, TWO], ids=["plain", "unicode"])
def test_what_is_put_is_read_back_whole_here_and_elsewhere(
    kept: Place, store: Store, tmp_path: Path, files: dict[str, bytes]
) -> None:
    folder, manifest = artifact(tmp_path / "new", files)
    final = store.put(folder, manifest)
    assert not folder.exists()
    for reader, where in ((store, final), (elsewhere := kept.open(tmp_path / "there"), elsewhere.folder(manifest))):
        assert reader.current("masks", "v") == manifest
        assert reader.version("masks", "v", manifest.data_version) == manifest
        assert contents(where) == files
        assert reader.verify(manifest) == []
        assert reader.videos("masks") == ["v"]
        assert manifest.data_version in reader.location(manifest)


def test_what_is_not_there_is_none(store: Store) -> None:
    assert store.current("masks", "v") is None
    assert store.version("masks", "v", "0" * 32) is None
    assert store.videos("masks") == []
    assert store.recorded("videos", "v") is None
    assert list(store.records("videos")) == []


def test_a_new_version_lies_beside_the_old_one(kept: Place, store: Store, tmp_path: Path) -> None:
    _, first = artifact(tmp_path / "a", ONE)
    store.put(tmp_path / "a", first)
    _, second = artifact(tmp_path / "b", TWO)
    store.put(tmp_path / "b", second)
    assert store.current("masks", "v") == second
    other = kept.open(tmp_path / "there")
    assert other.version("masks", "v", first.data_version) == first
    assert contents(other.folder(first)) == ONE


def test_equal_contents_renew_only_the_manifest(store: AnyStore, tmp_path: Path) -> None:
    _, first = artifact(tmp_path / "a", ONE)
    store.put(tmp_path / "a", first)
    before = {o.key: o for o in store.objects("artifacts") if not o.key.endswith(".json")}
    _, second = artifact(tmp_path / "b", ONE, fingerprint="another")
    store.put(tmp_path / "b", second)
    assert second.data_version == first.data_version
    assert store.current("masks", "v") == second
    assert {o.key: o for o in store.objects("artifacts") if not o.key.endswith(".json")} == before


def test_damage_is_named_and_what_is_whole_is_not(kept: Place, store: AnyStore, tmp_path: Path) -> None:
    _, manifest = artifact(tmp_path / "a", ONE)
    store.put(tmp_path / "a", manifest)
    below = f"artifacts/masks/v/{manifest.data_version}"
    kept.put_bytes(store, f"{below}/masks.parquet", b"eno")
    store.remove([f"{below}/sub/points.ply"])
    faults = [fault.partition(manifest.data_version)[2] for fault in store.verify(manifest)]
    assert faults == ["/masks.parquet is damaged", "/sub/points.ply is missing"]


def test_a_live_version_that_cannot_be_read_is_an_error_that_names_it(
    kept: Place, store: AnyStore, tmp_path: Path
) -> None:
    _, manifest = artifact(tmp_path / "a", ONE)
    store.put(tmp_path / "a", manifest)
    pointer = "artifacts/masks/v/current.json" if kept.kind == "folder" else "records/live/masks/v.json"
    kept.put_bytes(store, pointer, b"{")
    with pytest.raises(DamagedArtifact, match=rf"{pointer} cannot be read"):
        store.current("masks", "v")


def test_records_come_back_in_order_can_be_replaced_and_removed(kept: Place, store: Store, tmp_path: Path) -> None:
    facts = {"clips/a-b": {"n": 1}, "clips/a": {"reason": "zu dunkel 暗"}, "clips/a.b": {}, "masks/b": {"n": [1, None]}}
    for key, value in facts.items():
        store.record("failures", key, value)
    store.record("fails", "x", {"other": "kind"})
    listed = list(store.records("failures"))
    assert store.keys("failures") == [key for key, _ in listed]
    assert dict(listed) == facts
    assert [key for key, _ in listed] == sorted(facts, key=lambda key: Path(f"{key}.json"))
    other = kept.open(tmp_path / "there")
    assert list(other.records("failures")) == listed
    store.record("failures", "clips/a", {"reason": "new"})
    store.record("failures", "masks/b", None)
    store.record("failures", "masks/b", None)
    assert other.recorded("failures", "clips/a") == {"reason": "new"}
    assert dict(other.records("failures")) == {"clips/a-b": {"n": 1}, "clips/a": {"reason": "new"}, "clips/a.b": {}}


def test_the_bytes_of_a_video_are_kept_by_their_digest(kept: Place, store: Store, tmp_path: Path) -> None:
    for _twice in range(2):
        with scratch_file(store.incoming) as (_, file):
            file.write_bytes(b"video" * 1000)
            digest = file_digest(file)
            store.add_source(file, digest, ".mp4")
            assert not file.exists()
    for reader in (store, kept.open(tmp_path / "there")):
        path = reader.source(digest, ".mp4")
        assert path.suffix == ".mp4"
        assert path.read_bytes() == b"video" * 1000


def test_two_thousand_small_files(kept: Place, store: Store, tmp_path: Path) -> None:
    files = {f"frames/{number // 100:02}/{number:05}.png": number.to_bytes(4, "big") * 50 for number in range(2000)}
    _, manifest = artifact(tmp_path / "a", files)
    store.put(tmp_path / "a", manifest)
    assert contents(kept.open(tmp_path / "there").folder(manifest)) == files


def test_writers_at_once_leave_a_whole_version_and_readers_see_nothing_else(kept: Place, tmp_path: Path) -> None:
    rounds, faults = 6, []

    def write(number: int) -> None:
        writer = kept.open(tmp_path / f"writer{number}")
        for again in range(rounds):
            files = {"masks.parquet": bytes([number]), "x/y": b"%d" % (again % 2)}
            writer.put(*artifact(tmp_path / f"new{number}-{again}", files))

    writers = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    reader = kept.open(tmp_path / "reader")
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        manifest = reader.current("masks", "v")
        faults += reader.verify(manifest) if manifest else []
    for writer in writers:
        writer.join()
    assert faults == []
    last = reader.current("masks", "v")
    assert last is not None
    assert reader.verify(last) == []
    versions = {o.key.split("/")[3] for o in reader.objects("artifacts/masks/v") if o.key.count("/") > 3}
    assert len(versions) == 6


def test_an_object_listing_names_all_and_remove_removes_them(store: AnyStore, tmp_path: Path) -> None:
    _, manifest = artifact(tmp_path / "a", TWO)
    store.put(tmp_path / "a", manifest)
    below = f"artifacts/masks/v/{manifest.data_version}"
    listed = {o.key[len(below) + 1 :]: o.bytes for o in store.objects(below)}
    assert listed.pop("manifest.json") > 100
    assert listed == {path: len(data) for path, data in TWO.items()}
    assert store.digest(f"{below}/masks.parquet") == manifest.files[0].sha256
    store.remove([o.key for o in store.objects(below)] + [f"{below}/never"])
    assert list(store.objects(below)) == []
    with pytest.raises(FileNotFoundError):
        store.digest(f"{below}/masks.parquet")
