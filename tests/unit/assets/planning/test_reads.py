"""What looks at all videos reads no manifest of a fresh one: how often the store is read does not grow with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from egoworld_assets.automation.quarantine import stopped
from egoworld_assets.dataset import declarations, stale_licences, usable_videos
from egoworld_assets.episodes import STAGE as EPISODES
from egoworld_assets.planning.outdated import outdated_by_index
from egoworld_assets.planning.totals import planned
from egoworld_assets.serving.metrics import scan
from egoworld_resources.dataset import considered
from egoworld_resources.dataset.episodes import EpisodeArtifact
from egoworld_resources.dataset.lineage import LINEAGE
from egoworld_resources.making.views import FEW, view_of
from egoworld_resources.making.workbench import Workbench
from egoworld_resources.store.folder import FolderStore
from tests.benchmarks.index import make_rows
from tests.made_up import workbench
from tests.sensors import Ticks, instance_of

NOTHING_NEW = "the dataset holds what is usable"
LOOKS: dict[str, Callable[[Workbench], object]] = {
    "the plan of a refresh": lambda bench: planned(bench.snapshot(), None).steps == [],
    "metrics": lambda bench: scan(bench.snapshot()).found,
    "the nightly refresh": lambda bench: outdated_by_index(bench, lambda: False),
    "quarantine": lambda bench: list(stopped(bench.snapshot())) == [],
    "which videos belong into the dataset": lambda bench: len(usable_videos(bench)) == len(bench.store.keys("videos")),
    "the sensor of the dataset": lambda bench: looked_at_everything(merged(bench)),
    "licences of a dataset whose declarations stand": lambda bench: stale_licences(merged(bench)) == [],
}


def merged(bench: Workbench) -> Workbench:
    """There is a dataset of all videos, merged under the declarations of now."""
    target = bench.layout.dataset
    made = view_of(bench, [EPISODES], None).made(EPISODES.name, bench.store.keys("videos"))
    taken = [EpisodeArtifact(video, Path(), one.data_version) for video, one in made.items()]
    target.mkdir(parents=True, exist_ok=True)
    (target / LINEAGE).write_text('{"videos": []}', encoding="utf-8")
    considered.note(target, taken, written=True, declared=declarations(bench))
    return bench


def looked_at_everything(bench: Workbench) -> bool:
    """Whether a tick of the sensor ends with nothing to merge."""
    with instance_of(bench) as instance:
        return Ticks(bench, instance).look("dataset_follows").skip_message == NOTHING_NEW


@pytest.mark.parametrize("look", LOOKS)
def test_reads_do_not_grow_with_the_fresh_videos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, look: str) -> None:
    reads: Counter[str] = Counter()

    def counting(method: str) -> Callable[..., Any]:
        original = getattr(FolderStore, method)

        def read(store: FolderStore, *words: str) -> Any:
            reads[method] += 1
            return original(store, *words)

        return read

    for method in ("current", "version", "recorded"):
        monkeypatch.setattr(FolderStore, method, counting(method))
    found: list[int] = []
    for count in (FEW + 20, 4 * FEW):
        bench = workbench(tmp_path / str(count))
        make_rows(bench.settings, count, fresh=True)
        reads.clear()
        assert LOOKS[look](bench)
        found.append(reads.total())
    assert found[0] == found[1]
