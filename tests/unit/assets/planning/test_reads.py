"""What looks at all videos reads no manifest of a fresh one: how often the store is read does not grow with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from egoworld_assets.automation.quarantine import stopped
from egoworld_assets.planning.outdated import outdated_by_index
from egoworld_assets.planning.totals import planned
from egoworld_assets.serving.metrics import scan
from egoworld_resources.making.views import FEW
from egoworld_resources.making.workbench import Workbench
from egoworld_resources.store.folder import FolderStore
from tests.benchmarks.index import make_rows
from tests.made_up import workbench

LOOKS: dict[str, Callable[[Workbench], object]] = {
    "the plan of a refresh": lambda bench: planned(bench.snapshot(), None).steps == [],
    "metrics": lambda bench: scan(bench.snapshot()).found,
    "the nightly refresh": lambda bench: outdated_by_index(bench, lambda: False),
    "quarantine": lambda bench: list(stopped(bench.snapshot())) == [],
}


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
