"""Looking at everything reads each file once, and sees what the next command must see."""

from __future__ import annotations

from pathlib import Path

from egoworld_assets.orchestration.registry import stages
from egoworld_resources.artifacts.manifest import Manifest
from egoworld_resources.inbox.arrivals import Arrivals
from egoworld_resources.making.workbench import Workbench
from egoworld_resources.store.folder import FolderStore
from egoworld_resources.store.snapshot import Snapshot
from tests.made_up import BRIGHTNESS, video, workbench

STAGES = [stages()["videos"], stages()["clips"], BRIGHTNESS]


class Counted(FolderStore):
    """A store that counts how often a manifest is read."""

    reads = 0

    def version(self, asset: str, video: str, data_version: str) -> Manifest | None:
        self.reads += 1
        return super().version(asset, video, data_version)


def made(tmp_path: Path) -> tuple[Workbench, str]:
    bench = workbench(tmp_path)
    key = Arrivals(bench.store).take(video(tmp_path / "a.mp4")).video
    for stage in STAGES:
        bench.make(stage, [key], "run")
    return bench, key


def test_each_manifest_is_read_once(tmp_path: Path) -> None:
    bench, key = made(tmp_path)
    progress = []
    for wrap, reads in ((lambda store: store, 6), (Snapshot, 3)):
        counted = Counted(bench.layout.store)
        looking = Workbench(bench.settings, store=wrap(counted))
        progress.append([looking.state(stage, key).condition for stage in STAGES])
        assert counted.reads == reads
    assert progress == [["fresh"] * 3] * 2


def test_a_later_look_sees_what_was_made_since(tmp_path: Path) -> None:
    bench, key = made(tmp_path)
    first = bench.snapshot()
    assert first.state(BRIGHTNESS, key).condition == "fresh"
    Arrivals(bench.store).take(video(tmp_path / "a.mp4", shots=(11, 11)))
    assert bench.snapshot().state(BRIGHTNESS, key).condition == "stale"


def test_what_is_written_through_it_is_seen_by_it(tmp_path: Path) -> None:
    bench, key = made(tmp_path)
    looking = bench.snapshot()
    assert looking.state(BRIGHTNESS, key).condition == "fresh"
    Arrivals(looking.store).take(video(tmp_path / "a.mp4", shots=(11, 11)))
    for stage in STAGES:
        assert looking.make(stage, [key], "again")[0].state == "made"
    assert [looking.state(stage, key).condition for stage in STAGES] == ["fresh"] * 3


def test_how_long_a_model_takes_to_load_is_kept(tmp_path: Path) -> None:
    bench, _ = made(tmp_path)
    kept = bench.store.recorded("loads", "brightness/dimmer")
    assert kept is not None
    assert kept["device"] == "cpu"
    assert kept["seconds"] > 0
