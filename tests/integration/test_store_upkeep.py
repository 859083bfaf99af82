"""fsck finds and names every fault that is put in; gc frees what the policy lets go and never what is needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from egoworld_assets.cli.app import app
from egoworld_resources.artifacts.manifest import Manifest, file_digest
from egoworld_resources.leases.scratch import scratch_file
from egoworld_resources.store.folder import FolderStore
from egoworld_resources.store.fsck import Fault, fsck
from egoworld_resources.store.gc import Policy, apply, plan
from tests.made_stores import KINDS, AnyStore, Place, artifact, environment, place

LATER = datetime.now(UTC) + timedelta(days=30)
ALL = Policy(keep=0, older_than=timedelta(0))
READS = """
import sys
from pathlib import Path
from egoworld_resources.artifacts.manifest import Manifest
from egoworld_resources.store.folder import FolderStore

store = FolderStore(Path(sys.argv[1]))
with store.reading():
    folder = store.folder(Manifest.model_validate_json(sys.argv[2]))
    print("reading", flush=True)
    sys.stdin.readline()
    print((folder / "clips.parquet").read_text(), flush=True)
sys.stdin.readline()
"""


@pytest.fixture(params=KINDS)
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return place(request.param, request, tmp_path)


@pytest.fixture
def store(kept: Place, tmp_path: Path) -> AnyStore:
    return kept.open(tmp_path / "here")


def put(store: AnyStore, asset: str, text: str, folder: Path, inputs: dict[str, str | None] | None = None) -> Manifest:
    new = folder / f"{asset}-{text}"
    _, manifest = artifact(new, {f"{asset}.parquet": text.encode(), "sub/é": text.encode() * 2}, asset=asset)
    manifest = manifest.model_copy(update={"inputs": {"source": "x", **(inputs or {})}})
    store.put(new, manifest)
    return manifest


def video(store: AnyStore, key: str, data: bytes) -> str:
    with scratch_file(store.incoming) as (_, file):
        file.write_bytes(data)
        digest = file_digest(file)
        store.add_source(file, digest, ".mp4")
    store.record("videos", key, {"name": f"{key}.mp4", "sha256": digest, "suffix": ".mp4", "bytes": len(data)})
    return f"sources/{digest}.mp4"


def found(store: AnyStore, quick: bool = False) -> set[tuple[str, str]]:
    return {(fault.kind, fault.key) for fault in fsck(store, quick, now=LATER)}


def test_a_sound_store_has_no_faults(store: AnyStore, tmp_path: Path) -> None:
    assert found(store) == set()
    video(store, "v", b"video")
    first = put(store, "clips", "one", tmp_path)
    put(store, "masks", "two", tmp_path, {"clips": first.data_version, "tracks": None})
    put(store, "clips", "three", tmp_path)
    assert found(store) == set()


def test_every_fault_that_is_put_in_is_found_and_named(kept: Place, store: AnyStore, tmp_path: Path) -> None:
    made = put(store, "clips", "one", tmp_path)
    clips = f"artifacts/clips/v/{made.data_version}"
    other = put(store, "masks", "two", tmp_path, {"clips": "f" * 32})
    masks = f"artifacts/masks/v/{other.data_version}"
    lost, bad = video(store, "lost", b"lost"), video(store, "bad", b"a bad one")
    kept.put_bytes(store, f"{clips}/clips.parquet", b"eno")
    kept.put_bytes(store, f"{clips}/extra", b"nobody's")
    store.remove([f"{clips}/sub/é", lost])
    kept.put_bytes(store, f"{masks}/masks.parquet", b"longer")
    kept.put_bytes(store, f"artifacts/tracks/v/{'0' * 32}/tracks.parquet", b"killed")
    kept.put_bytes(store, f"artifacts/tracks/v/{'1' * 32}/manifest.json", b"{")
    kept.put_bytes(store, "sources/replaced.mp4", b"nobody's")
    kept.put_bytes(store, bad, b"a bad  on")
    sizes = {
        ("missing", f"{clips}/sub/é"),
        ("missing", lost),
        ("missing", f"artifacts/clips/v/{'f' * 32}/manifest.json"),
        ("damaged", f"{masks}/masks.parquet"),
        ("damaged", f"artifacts/tracks/v/{'1' * 32}/manifest.json"),
        ("orphaned", f"{clips}/extra"),
        ("orphaned", f"artifacts/tracks/v/{'0' * 32}/tracks.parquet"),
        ("orphaned", "sources/replaced.mp4"),
    }
    assert found(store, quick=True) == sizes
    assert found(store) == sizes | {("damaged", f"{clips}/clips.parquet"), ("damaged", bad)}
    soon = {fault.kind for fault in fsck(store, now=datetime.now(UTC))}
    assert "orphaned" not in soon, "what is this young may still be being written"


def test_gc_keeps_what_is_live_what_it_was_made_from_and_what_the_policy_keeps(
    kept: Place, store: AnyStore, tmp_path: Path
) -> None:
    known = video(store, "v", b"video")
    versions = [put(store, "clips", "a", tmp_path)]
    masks = put(store, "masks", "m", tmp_path, {"clips": versions[0].data_version})
    put(store, "tracks", "t", tmp_path, {"masks": masks.data_version})
    put(store, "masks", "n", tmp_path)
    versions += [put(store, "clips", text, tmp_path) for text in "bcd"]
    kept.put_bytes(store, "sources/replaced.mp4", b"nobody's")
    before = {o.key for o in store.objects("")}

    def removed(policy: Policy, now: datetime = LATER) -> set[str]:
        return {removal.what for removal in plan(store, policy, now)}

    gone = {f"artifacts/clips/v/{v.data_version}" for v in versions[1:3]}
    assert removed(ALL) == gone | {"sources/replaced.mp4"}
    assert removed(Policy(keep=1, older_than=timedelta(0))) < removed(ALL)
    assert len(removed(Policy(keep=1, older_than=timedelta(0)))) == 2
    assert removed(Policy(keep=9, older_than=timedelta(days=31))) == set()
    assert removed(ALL, now=datetime.now(UTC)) <= gone, "nothing young is called orphaned"
    assert {o.key for o in store.objects("")} == before, "a plan removes nothing"
    removals = list(plan(store, ALL, LATER))
    assert {r.bytes > 0 for r in removals} == {True}
    assert [apply(store, removal) for removal in removals] == [True] * 3
    after = {o.key for o in store.objects("")}
    assert before - after == {key for removal in removals for key in removal.keys}
    assert known in after
    assert found(store) == set()
    assert removed(ALL) == set()


def test_a_version_that_came_back_to_life_since_the_plan_stays(store: AnyStore, tmp_path: Path) -> None:
    first = put(store, "clips", "a", tmp_path)
    put(store, "clips", "b", tmp_path)
    (removal,) = plan(store, ALL, LATER)
    put(store, "clips", "a", tmp_path / "again")
    assert apply(store, removal) is False
    assert store.current("clips", "v") == first
    assert store.verify(first) == []


def test_a_live_version_that_cannot_be_read_protects_everything_of_its_video(
    kept: Place, store: AnyStore, tmp_path: Path
) -> None:
    for text in "abc":
        put(store, "clips", text, tmp_path)
    pointer = "artifacts/clips/v/current.json" if kept.kind == "folder" else "records/live/clips/v.json"
    kept.put_bytes(store, pointer, b"{")
    assert list(plan(store, ALL, LATER)) == []
    assert Fault("damaged", "live version of clips of v", "").key in {key for _, key in found(store)}


@pytest.mark.parametrize("kind", ["folder", "minio"])
def test_the_commands_say_what_and_how_much_and_remove_only_when_asked(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = place(kind, request, tmp_path / "data")
    store = kept.open(tmp_path / "data")
    if kind == "minio":
        for name, value in environment(store.access).items():
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("EGOWORLD_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, list(words))
        return done.exit_code, done.output

    assert run("fsck") == (0, "everything is as it should be\n")
    made = [put(store, "clips", text, tmp_path) for text in "abc"]
    size = sum(o.bytes for o in store.objects(f"artifacts/clips/v/{made[0].data_version}"))
    status, output = run("gc", "--keep", "1", "--older-than", "0")
    assert status == 0
    assert f"({size:,} bytes) would be removed (dry run; --apply removes it)" in output
    assert store.version("clips", "v", made[0].data_version) is not None
    status, output = run("gc", "--keep", "1", "--older-than", "0", "--apply", "--json")
    report = json.loads(output)
    assert (status, report["applied"], report["bytes"], len(report["removals"])) == (0, True, size, 1)
    assert store.version("clips", "v", made[0].data_version) is None
    kept.put_bytes(store, f"artifacts/clips/v/{made[2].data_version}/clips.parquet", b"?")
    status, output = run("fsck", "--json")
    assert status == 1
    assert [(f["kind"], f["key"].rpartition("/")[2]) for f in map(json.loads, output.splitlines())] == [
        ("damaged", "clips.parquet")
    ]
    assert os.environ.get("S3_SECRET_KEY", "nothing") not in output


@pytest.mark.parametrize("killed", [False, True], ids=["it ends", "it is killed"])
def test_what_another_process_reads_stays_until_it_has(tmp_path: Path, killed: bool) -> None:
    store = FolderStore(tmp_path / "store")
    first = put(store, "clips", "a", tmp_path)
    put(store, "clips", "b", tmp_path)
    (removal,) = plan(store, ALL, LATER)
    command = [sys.executable, "-c", READS, str(store.root), first.model_dump_json()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdin
        assert reader.stdout
        assert reader.stdout.readline() == "reading\n"
        assert apply(store, removal) is False
        assert store.version("clips", "v", first.data_version) == first
        if killed:
            reader.kill()
            reader.wait()
        else:
            reader.stdin.write("go on\n")
            reader.stdin.flush()
            assert reader.stdout.readline() == "a\n"
            reader.stdin.write("end\n")
            reader.stdin.flush()
            reader.wait()
        assert apply(store, removal) is True
    assert store.version("clips", "v", first.data_version) is None
