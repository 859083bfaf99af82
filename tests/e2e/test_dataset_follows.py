"""The dataset follows what people do in the UI and at the command line; one running service, and nobody merges."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import dagster as dg
import pytest

from egoworld_assets.automation.jobs import DATASET
from egoworld_assets.automation.pace import UNFINISHED
from egoworld_assets.orchestration.registry import stages
from egoworld_resources.making.workbench import Workbench
from tests.daemons import bench_of, in_dataset, live, merges
from tests.made_graph import RUNNER, Installation
from tests.made_up import video
from tests.soak import Service

SHORT = {"sensors_every_s": 2, "dataset_quiet_s": 2.0, "dataset_wait_s": 30.0, "dataset_look_s": 2.0}
PATIENCE_S = 120.0
LOADED = "{ repositoriesOrError { __typename ... on RepositoryConnection { nodes { name } } } }"
MATERIALIZE = """
mutation($assets: [AssetKeyInput!], $tags: [ExecutionTag!]) {
  launchPipelineExecution(executionParams: {
    selector: {pipelineName: "__ASSET_JOB", repositoryName: "__repository__", repositoryLocationName: "egoworld",
               assetSelection: $assets},
    mode: "default", executionMetadata: {tags: $tags}}) { __typename ... on PythonError { message } }
}
"""
"""What the button "Materialize" sends for one partition."""


class Site:
    """A service on four videos: one is whole, two lack their episodes, and one is quarantined at its robot."""

    def __init__(self, folder: Path) -> None:
        self.installed = Installation(folder / "made", **SHORT)
        self.arm = self.installed.runner.with_name("arm.py")
        self.arm.write_text(RUNNER, encoding="utf-8")
        pyproject = self.arm.with_name("pyproject.toml")
        pyproject.write_text(pyproject.read_text().replace("runner:Robots", "arm:Robots"), encoding="utf-8")
        self.bench: Workbench = bench_of(self.installed)
        self.service = Service(folder, self.installed.config)

    def prepare(self, folder: Path) -> tuple[str, list[str], str]:
        """Make all but what is to come; returns the videos: whole, without episodes, quarantined."""
        self.installed.make("ingest", *(str(video(folder / f"{n}.mp4", shots=(8 + n,))) for n in range(4)))
        whole, *others, bad = keys = self.bench.store.keys("videos")
        run = "class Robots(Runner):\n    writes = (tables.RobotPose,)\n\n    def run(self, clip, inputs, params):\n"
        assert run in RUNNER
        blind = f"{run}        if clip.video == {bad!r}:\n            return\n"
        self.arm.write_text(RUNNER.replace(run, blind), encoding="utf-8")
        self.bench = bench_of(self.installed)
        for name, stage in stages().items():
            if name != "previews":
                self.bench.make(stage, [whole] if name == "episodes" else keys, "by hand")
        assert self.bench.state(stages()["robot_trajectories"], bad).condition == "quarantined"
        return whole, others, bad

    def wait(self, what: Callable[[], bool]) -> None:
        """Until it is so, or the test fails with what the service said."""
        end = time.monotonic() + PATIENCE_S
        while not what():
            if time.monotonic() > end:
                pytest.fail(f"it never came\n{(self.service.folder / 'service.log').read_text()[-4000:]}")
            time.sleep(0.2)

    def card(self) -> str:
        try:
            return (self.bench.layout.dataset / "README.md").read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""

    def holds(self, *keys: str) -> bool:
        """Whether the dataset holds these videos, as they are in the store now."""
        found = in_dataset(self.bench)
        return set(found) == set(keys) and found == live(self.bench)


@pytest.mark.timeout(600)
def test_a_backfill_a_lifted_quarantine_and_rights(tmp_path: Path) -> None:
    """While the first merge is under way two videos are backfilled, and a third is made again by a corrected runner;
    afterwards the rights of all are stated. Merges follow by themselves, one at a time, until nothing is missing.
    """
    site = Site(tmp_path)
    site.service.keep_up()
    try:
        whole, others, bad = site.prepare(tmp_path)
        site.service.answered(LOADED)
        site.service.backfill(others, ["episodes"])
        site.arm.write_text(RUNNER, encoding="utf-8")
        site.bench = bench_of(site.installed)
        paths = [{"path": [name]} for name in ("robot_trajectories", "episodes")]
        tags = [{"key": "dagster/partition", "value": bad}]
        launched = site.service.asked(MATERIALIZE, assets=paths, tags=tags)["launchPipelineExecution"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        site.wait(lambda: site.holds(whole, *others, bad))

        stated = tmp_path / "rights.csv"
        rows = [f"{key},CC-BY-4.0,our own camera" for key in (whole, *others, bad)]
        stated.write_text("\n".join(["video,licence,source", *rows]), encoding="utf-8")
        assert "CC-BY-4.0" not in site.card()
        site.installed.ask("rights", "--csv", str(stated))
        site.wait(lambda: "| CC-BY-4.0 | our own camera |" in site.card())
        assert site.holds(whole, *others, bad)
        with dg.DagsterInstance.from_config(str(site.bench.layout.dagster)) as instance:
            site.wait(lambda: not instance.get_runs_count(dg.RunsFilter(statuses=UNFINISHED)))
            assert [run.status for run in merges(instance)] == [dg.DagsterRunStatus.SUCCESS] * len(merges(instance))
            one_at_a_time(instance)
    finally:
        site.service.stop()


def one_at_a_time(instance: dg.DagsterInstance) -> None:
    """No merge was asked for before the one before it had ended."""
    records = instance.get_run_records(dg.RunsFilter(job_name=DATASET.name), ascending=True)
    for before, after in pairwise(records):
        assert before.end_time
        assert before.end_time <= after.create_timestamp.timestamp()
