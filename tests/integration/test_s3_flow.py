"""The made-up flow over S3: settings choose the store, machines share it, what fails on one side is told."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from egoworld_assets.orchestration.registry import stages
from egoworld_assets.serving.artifact_files import served_artifacts
from egoworld_resources.inbox.arrivals import Arrivals
from egoworld_resources.making.lineage import lineage_of
from egoworld_resources.making.workbench import Workbench
from egoworld_resources.s3.access import S3Access
from egoworld_resources.server.s3_servers import S3Address
from egoworld_resources.store.folder import FolderStore
from egoworld_resources.store.fsck import forget, fsck
from egoworld_resources.store.s3 import S3Store
from tests.made_stores import KINDS, SERVERS, Place, access_to, artifact, environment, objects_of
from tests.made_up import BRIGHTNESS, video, workbench
from tests.servers import free_port
from tests.wire import Wire, wire

STAGES = [stages()["videos"], stages()["clips"], BRIGHTNESS]


@pytest.fixture(params=SERVERS)
def access(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> S3Access:
    made = access_to(request.getfixturevalue(request.param))
    for name, value in environment(made).items():
        monkeypatch.setenv(name, value)
    return made


def conditions(bench: Workbench, key: str) -> list[str]:
    return [bench.state(stage, key).condition for stage in STAGES]


def test_settings_choose_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(workbench(tmp_path).store, FolderStore)
    monkeypatch.setenv("S3_ENDPOINT", "http://127.0.0.1:1")
    assert isinstance(workbench(tmp_path).store, FolderStore), "an endpoint without keys is somebody else's"
    monkeypatch.setenv("S3_ACCESS_KEY", "a")
    monkeypatch.setenv("S3_SECRET_KEY", "b")
    assert isinstance(workbench(tmp_path).store, S3Store)
    assert isinstance(workbench(tmp_path, store="folder").store, FolderStore)


def test_two_machines_share_one_store(access: S3Access, tmp_path: Path) -> None:
    here, there = workbench(tmp_path / "here"), workbench(tmp_path / "there")
    key = Arrivals(here.store).take(video(tmp_path / "a.mp4", shots=(14, 14))).video
    assert Arrivals(there.store).take(tmp_path / "a.mp4").state == "unchanged"
    assert [here.make(stage, [key], "run")[0].state for stage in STAGES[:2]] == ["made", "made"]
    (made,) = there.make(BRIGHTNESS, [key], "run")
    assert made.manifest is not None, made.why
    assert made.manifest.rows == {"brightness": 28}
    assert conditions(here, key) == conditions(here.snapshot(), key) == ["fresh"] * 3
    assert here.make(BRIGHTNESS, [key], "again")[0].state == "fresh"
    changed = workbench(tmp_path / "there", params={"brightness": {"level": 100.0}})
    assert changed.state(BRIGHTNESS, key).why == "parameters changed: level 0.0 → 100.0"
    assert Arrivals(there.store).take(video(tmp_path / "a.mp4", shots=(12, 12, 12))).state == "replaced"
    assert conditions(here, key) == ["stale"] * 3
    assert [here.make(stage, [key], "new")[0].state for stage in STAGES] == ["made"] * 3
    assert conditions(there, key) == ["fresh"] * 3
    assert not (tmp_path / "here" / "data" / "store").exists()
    names = [node["asset"] for node in lineage_of(there, made.manifest)["inputs"]]
    assert sorted(names) == ["clips", "source", "videos"]


def test_no_secret_reaches_the_store_the_runner_or_what_is_kept_of_a_failure(access: S3Access, tmp_path: Path) -> None:
    bench = workbench(tmp_path, params={"brightness": {"crash": "refuse"}})
    (tmp_path / "bad.mp4").write_text("no pictures")
    good, bad = (Arrivals(bench.store).take(p).video for p in (video(tmp_path / "a.mp4"), tmp_path / "bad.mp4"))
    for stage in STAGES:
        bench.make(stage, [good, bad], "run")
    assert bench.state(STAGES[0], bad).condition == "failed"
    secret = access.secret_key.get_secret_value().encode()
    kept = [p for p in (tmp_path / "data").rglob("*") if p.is_file()]
    assert [p for p in kept if secret in p.read_bytes()] == []
    store = bench.store
    assert isinstance(store, S3Store)
    assert [o.key for o in store.objects("") if secret in (objects_of(store).get(o.key) or b"")] == []
    assert os.environ["S3_SECRET_KEY"] == secret.decode()


def test_a_damaged_input_costs_its_video_only_and_is_named(access: S3Access, tmp_path: Path) -> None:
    bench = workbench(tmp_path)
    keys = [Arrivals(bench.store).take(video(tmp_path / f"{n}.mp4", shots=(12 + n, 12))).video for n in range(2)]
    for stage in STAGES[:2]:
        bench.make(stage, keys, "run")
    store = bench.store
    assert isinstance(store, S3Store)
    clips = store.current("clips", keys[0])
    assert clips is not None
    objects_of(store).put(f"artifacts/clips/{keys[0]}/{clips.data_version}/clips.parquet", b"damaged")
    elsewhere = workbench(tmp_path / "there")
    bad, good = elsewhere.make(BRIGHTNESS, keys, "run")
    assert (bad.state, good.state) == ("failed", "made")
    assert "clips.parquet is damaged" in bad.why
    assert elsewhere.state(BRIGHTNESS, keys[0]).condition == "missing", "restored bytes are all that it needs"


@pytest.mark.parametrize("kind", KINDS)
def test_a_browser_gets_files_of_artifacts_and_nothing_else(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind != "folder":
        for name, value in environment(access_to(request.getfixturevalue(kind))).items():
            monkeypatch.setenv(name, value)
    bench = workbench(tmp_path, files_url=f"http://127.0.0.1:{free_port()}")
    _, manifest = artifact(tmp_path / "new", {"contact sheet é.png": b"picture"}, asset="previews")
    bench.store.put(tmp_path / "new", manifest)
    bench.store.record("videos", "v", {"name": "private"})
    below = f"{bench.settings.files_url}/previews/v/{manifest.data_version}"
    with served_artifacts(bench):
        with urlopen(f"{below}/contact%20sheet%20%C3%A9.png") as answer:
            assert answer.read() == b"picture"
        wrong = [below, f"{below}/other", f"{below}/../../../../records/videos/v.json", bench.settings.files_url]
        wrong += [f"{bench.settings.files_url}/previews/v/%2e%2e/manifest.json"]
        for url in [*wrong, f"{below}/%2e%2e/%2e%2e/%2e%2e/%2e%2e/records/videos/v.json"]:
            with pytest.raises(HTTPError, match="404"):
                urlopen(url)


@pytest.mark.parametrize("kind", KINDS)
def test_a_repaired_store_makes_the_damaged_artifact_again(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind != "folder":
        for name, value in environment(access_to(request.getfixturevalue(kind))).items():
            monkeypatch.setenv(name, value)
    bench = workbench(tmp_path)
    key = Arrivals(bench.store).take(video(tmp_path / "a.mp4")).video
    first = [bench.make(stage, [key], "run")[0].manifest for stage in STAGES]
    store = bench.store
    assert isinstance(store, S3Store | FolderStore)
    assert first[1] is not None
    damaged = f"artifacts/clips/{key}/{first[1].data_version}/clips.parquet"
    Place(kind, lambda _: store).put_bytes(store, damaged, b"x" * first[1].files[0].bytes)
    (fault,) = fsck(store)
    assert (fault.kind, fault.key) == ("damaged", damaged)
    assert forget(store, fault)
    assert list(fsck(store)) != [], "the live brightness was made from it"
    assert conditions(bench, key) == ["fresh", "missing", "blocked"]
    (again,) = bench.make(STAGES[1], [key], "again")
    assert again.manifest is not None
    assert again.manifest.data_version == first[1].data_version
    assert conditions(bench, key) == ["fresh"] * 3
    assert list(fsck(store)) == []


def test_a_server_that_goes_away_in_the_middle_is_transient(
    minio: S3Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = access_to(minio)
    for name, value in environment(access).items():
        monkeypatch.setenv(name, value)
    key = Arrivals(workbench(tmp_path).store).take(video(tmp_path / "a.mp4")).video
    cutting: list[Wire] = []
    with wire(minio.port, 8, lambda: cutting[0].close()) as between:
        cutting.append(between)
        monkeypatch.setenv("S3_ENDPOINT", f"http://127.0.0.1:{between.port}")
        (outcome,) = workbench(tmp_path).make(STAGES[0], [key], "run")
    assert (outcome.state, outcome.transient) == ("failed", True)
    assert "check S3_ENDPOINT and that the server runs" in outcome.why
    monkeypatch.setenv("S3_ENDPOINT", minio.endpoint)
    bench = workbench(tmp_path)
    assert bench.state(STAGES[0], key).condition == "missing", "nothing is held against the video"
    assert bench.make(STAGES[0], [key], "run")[0].state == "made"
    shutil.rmtree(tmp_path / "data" / "cache")
    assert bench.store.verify(bench.store.current("videos", key)) == []
