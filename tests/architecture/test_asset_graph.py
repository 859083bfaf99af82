"""The asset graph against its snapshot: a change of the graph is seen in review.

After a change that is meant: ``python tests/architecture/test_asset_graph.py``.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from dagster import AssetKey, BackfillPolicy

from egoworld_assets.definitions import build
from egoworld_assets.orchestration.registry import stages
from egoworld_resources.making.workbench import Workbench
from egoworld_resources.settings import Settings

SNAPSHOT = Path(__file__).with_name("asset_graph.json")


def graph(home: Path) -> dict[str, Any]:
    """Assets with what they depend on and how they run; jobs, sensors and schedules by name."""
    definitions = build(Workbench(Settings.load(home=home)))
    repository = definitions.get_repository_def()
    assets = {
        spec.key.to_user_string(): {
            "after": sorted(dep.asset_key.to_user_string() for dep in spec.deps),
            "group": spec.group_name,
            "kinds": sorted(spec.kinds),
            "owners": list(spec.owners),
            "partitions": getattr(spec.partitions_def, "name", None),
            "described": bool(spec.description),
            "code_version": spec.code_version is not None,
        }
        for spec in definitions.resolve_all_asset_specs()
    }
    checks = sorted(key.to_user_string() for key in repository.asset_graph.asset_check_keys)
    return {
        "assets": dict(sorted(assets.items())),
        "checks": checks,
        "jobs": sorted(job.name for job in definitions.jobs or ()),
        "schedules": sorted(schedule.name for schedule in definitions.schedules or ()),
        "sensors": sorted(sensor.name for sensor in definitions.sensors or ()),
    }


def test_the_graph_is_that_of_the_snapshot(tmp_path: Path) -> None:
    assert graph(tmp_path) == json.loads(SNAPSHOT.read_text(encoding="utf-8")), f"if it is meant: {__doc__}"


def test_what_a_stage_reads_lies_before_it_in_the_graph() -> None:
    before = {
        asset: set(facts["after"])
        for asset, facts in json.loads(SNAPSHOT.read_text(encoding="utf-8"))["assets"].items()
    }

    def behind(asset: str) -> set[str]:
        return before[asset].union(*(behind(up) for up in before[asset]))

    for stage in stages().values():
        assert {*stage.inputs, *stage.optional} <= behind(stage.name), stage.name


def test_all_stages_go_through_a_backfill_in_the_same_runs(tmp_path: Path) -> None:
    repository = build(Workbench(Settings.load(home=tmp_path))).get_repository_def()
    nodes = {node.key: node for node in repository.asset_graph.asset_nodes}
    policies = {nodes[AssetKey(stage)].backfill_policy for stage in stages()}
    assert policies == {BackfillPolicy.multi_run(Settings.load(home=tmp_path).batch)}, "one load of a model a run"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        SNAPSHOT.write_text(json.dumps(graph(Path(folder)), indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(f"{SNAPSHOT}\n")
