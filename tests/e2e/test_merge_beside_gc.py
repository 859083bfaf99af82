"""The dataset is merged from episodes that a refresh replaces and `egoworld gc --apply` would take, in between."""

from __future__ import annotations

import json
from pathlib import Path

import dagster as dg
import pytest

from egoworld_assets.automation.dataset_asset import dataset
from egoworld_assets.orchestration.registry import stages
from egoworld_resources.artifacts.manifest import Manifest
from egoworld_resources.inbox.arrivals import Arrivals
from egoworld_resources.making.workbench import Workbench
from egoworld_resources.settings import Settings
from egoworld_resources.store.folder import FolderStore
from tests.made_graph import Installation
from tests.made_stores import artifact
from tests.made_up import video


class Overtaken(FolderStore):
    """A store in which episodes are replaced, and old versions collected, as soon as somebody was given them."""

    def __init__(self, root: Path, installation: Installation) -> None:
        super().__init__(root)
        self.installation = installation
        self.taken: list[Manifest] = []

    def folder(self, manifest: Manifest) -> Path:
        given = super().folder(manifest)
        if manifest.asset == "episodes" and not self.taken:
            self.taken.append(manifest)
            folder, newer = artifact(
                self.installation.folder / "newer", {"x": b"newer"}, asset="episodes", video=manifest.video
            )
            FolderStore(self.root).put(folder, newer)
            self.collect()
        return given

    def collect(self) -> int:
        """What a real `egoworld gc` removed."""
        words = ("gc", "--apply", "--keep", "0", "--older-than", "0", "--json")
        return len(json.loads(self.installation.make(*words))["removals"])


def test_what_is_being_merged_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installation = Installation(tmp_path)
    monkeypatch.setenv("EGOWORLD_CONFIG", installation.config)
    bench = Workbench(Settings.load())
    key = Arrivals(bench.store).take(video(tmp_path / "kitchen.mp4")).video
    for stage in stages().values():
        (outcome,) = bench.make(stage, [key], "run")
        assert outcome.manifest, outcome
    store = Overtaken(bench.layout.store, installation)
    merged = dataset(dg.build_asset_context(), Workbench(bench.settings, store=store))
    assert isinstance(merged, dg.MaterializeResult)
    assert merged.metadata
    assert (merged.metadata["videos"], merged.metadata["refused"].value) == (1, {})
    (taken,) = store.taken
    assert store.version("episodes", key, taken.data_version) == taken
    assert store.collect() == 1, "once it is merged, nobody needs it"
    assert store.version("episodes", key, taken.data_version) is None
