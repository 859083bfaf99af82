from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from types import FrameType

import pytest

from egoworld_resources.artifacts.manifest import Manifest, data_version, stored_files
from egoworld_resources.errors import DamagedArtifact
from egoworld_resources.store import folder as module
from egoworld_resources.store.folder import FolderStore
from egoworld_resources.store.fsck import fsck
from tests.unit.resources.artifacts.test_manifest import INPUTS, RECIPE, made


def staged(folder: Path, text: str) -> tuple[Path, Manifest]:
    (folder / "sub").mkdir(parents=True)
    (folder / "masks.parquet").write_text(text)
    (folder / "sub" / "points.ply").write_text(text * 2)
    files = stored_files(folder)
    return folder, made(RECIPE, INPUTS).model_copy(update={"files": files, "data_version": data_version(files)})


def test_what_is_put_is_read_back_whole(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    folder, manifest = staged(tmp_path / "new", "one")
    final = store.put(folder, manifest)
    assert store.current("masks", "v") == manifest
    assert (final / "sub" / "points.ply").read_text() == "oneone"
    assert not folder.exists()
    assert store.verify(manifest) == []
    assert store.videos("masks") == ["v"]


def test_a_new_version_lies_beside_the_old_one(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    _, first = (store.put(*staged(tmp_path / "a", "one")), store.current("masks", "v"))
    store.put(*staged(tmp_path / "b", "two"))
    assert first is not None
    assert store.current("masks", "v") != first
    assert store.version("masks", "v", first.data_version) == first


def test_equal_contents_renew_only_the_manifest(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    final = store.put(*staged(tmp_path / "a", "one"))
    inode = (final / "masks.parquet").stat().st_ino
    folder, manifest = staged(tmp_path / "b", "one")
    renewed = manifest.model_copy(update={"fingerprint": "another"})
    assert store.put(folder, renewed) == final
    assert (final / "masks.parquet").stat().st_ino == inode
    assert store.current("masks", "v") == renewed


def test_damage_is_named(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    folder, manifest = staged(tmp_path / "a", "one")
    final = store.put(folder, manifest)
    (final / "masks.parquet").write_text("two")
    (final / "sub" / "points.ply").unlink()
    assert [fault.rsplit("/", 1)[1] for fault in store.verify(manifest)] == [
        "masks.parquet is damaged",
        "points.ply is missing",
    ]


def test_an_unreadable_pointer_is_an_error_that_names_it(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    final = store.put(*staged(tmp_path / "a", "one"))
    (final.parent / "current.json").write_text("{")
    with pytest.raises(DamagedArtifact, match=r"current\.json cannot be read"):
        store.current("masks", "v")


def test_an_unreadable_manifest_is_an_error_that_names_it(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    final = store.put(*staged(tmp_path / "a", "one"))
    (final / "manifest.json").write_text('{"asset": "masks"}')
    for read in (lambda: store.version("masks", "v", final.name), lambda: store.current("masks", "v")):
        with pytest.raises(DamagedArtifact, match=r"manifest\.json cannot be read .*; remove it to make it again"):
            read()


@pytest.mark.parametrize("bad", ["{", "[]", "\x00" * 9])
def test_a_damaged_record_is_named_and_the_others_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, bad: str
) -> None:
    store = FolderStore(tmp_path)
    for key in ("a", "b", "c"):
        store.record("videos", key, {"name": key, "sha256": key, "suffix": ".mp4", "bytes": 1})
    (tmp_path / "records/videos/b.json").write_text(bad)
    assert list(dict(store.records("videos"))) == ["a", "c"]
    assert f"{tmp_path}/records/videos/b.json cannot be read" in caplog.text
    with pytest.raises(DamagedArtifact, match=r"b\.json cannot be read .*; remove it"):
        store.recorded("videos", "b")
    assert ("damaged", "records/videos/b.json") in {(fault.kind, fault.key) for fault in fsck(store)}


def put_and_die(root: Path, at: int) -> int:
    """Put a version in a forked process that kills itself before the ``at``-th line of the store; its exit status."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    steps = 0

    def trace(frame: FrameType, event: str, argument: object) -> object:
        nonlocal steps
        if frame.f_code.co_filename == module.__file__ and event == "line":
            steps += 1
            if steps == at:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    try:
        folder, manifest = staged(root / f"new{at}", "two")
        sys.settrace(trace)
        FolderStore(root / "store").put(folder, manifest)
    finally:
        os._exit(0)


def test_killed_at_any_line_a_reader_sees_the_old_or_the_new_whole(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    store.put(*staged(tmp_path / "old", "one"))
    seen: list[str] = []
    status, at = signal.SIGKILL, 0
    while status:
        at += 1
        status = put_and_die(tmp_path, at)
        assert status in (0, signal.SIGKILL)
        manifest = store.current("masks", "v")
        assert manifest is not None
        assert store.verify(manifest) == []
        seen.append(manifest.data_version)
    assert at > 20, "the store was killed at every one of its lines"
    assert len(set(seen)) == 2
    assert seen == sorted(seen, key=seen.index), "once the new version is seen, the old one never comes back"


def test_records_come_back_in_order_and_can_be_removed(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.record("failures", "masks/b", {"reason": "x"})
    store.record("failures", "clips/a", {"reason": "y"})
    assert dict(store.records("failures")) == {"clips/a": {"reason": "y"}, "masks/b": {"reason": "x"}}
    store.record("failures", "clips/a", None)
    assert store.recorded("failures", "clips/a") is None
    assert json.loads((tmp_path / "records/failures/masks/b.json").read_text()) == {"reason": "x"}
