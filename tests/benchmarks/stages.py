"""(l) Frames a processor second of detections, masks and previews, the start of each runner taken off."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from egoworld_assets.orchestration.registry import stages
from egoworld_resources.making.workbench import Workbench
from egoworld_runner.tables import HandPose, schema
from tests.benchmarks.flow import plan_of
from tests.benchmarks.measure import Measure
from tests.benchmarks.place import Place, of_children, settings
from tests.benchmarks.straight import run_stage

GOALS = {"detections": 60, "masks": 20, "previews": 45}
"""Frames a processor second at 1280x720."""
BEFORE = ("videos", "clips")
VIDEO = "sample"
READS = {
    "videos": (),
    "clips": ("videos",),
    "detections": ("videos", "hand_poses"),
    "masks": ("videos", "hand_poses", "detections"),
    "previews": ("videos", "clips", "hand_poses", "detections", "masks"),
}


@dataclass(frozen=True)
class Stages:
    """The stages of one video, without store and sandbox; work: where each leaves its artifact."""

    bench: Workbench
    path: Path
    work: Path

    def make(self, stage: str, *, empty: bool = False) -> float:
        """Processor seconds of the stage's process. empty: without a video, which is what its start takes."""
        plan = plan_of(self.bench, stages()[stage], self.work, {} if empty else {VIDEO: list(READS[stage])})
        began = of_children()
        run_stage(plan, {VIDEO: [str(self.path), self.path.name]}, self.work)
        return of_children() - began

    def know_hands(self) -> None:
        """Take the true hands of a generated video for those that hand_poses would find."""
        folder = self.work / "hand_poses" / VIDEO
        folder.mkdir(parents=True)
        rows = pq.read_table(self.path.with_suffix(".truth") / "hand_poses.parquet").to_pylist()
        spans = pq.read_table(self.work / "clips" / VIDEO / "clips.parquet").to_pylist()
        found = [
            {**row, "clip_id": span["clip_id"], "score": 1.0}
            for span in spans
            for row in rows
            if span["start_frame"] <= row["frame"] < span["end_frame"]
        ]
        pq.write_table(pa.Table.from_pylist(found, schema=schema(HandPose)), folder / "hand_poses.parquet")


def run(place: Place) -> Iterator[Measure]:
    """On a generated video of 300 frames."""
    seconds, *size = (2.0, 320, 180, 10) if place.quick else (10.0, 1280, 720, 30)
    video = place.sample(1, seconds, *size)
    work = place.root / "stages"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    made = Stages(Workbench(settings(place.home("stages"))), video, work)
    for stage in BEFORE:
        made.make(stage)
    made.know_hands()
    frames = round(seconds * size[2])
    what = f"frames a processor second, {frames} of {size[0]}x{size[1]}, "
    for stage, goal in GOALS.items():
        start = made.make(stage, empty=True)
        rate = frames / max(made.make(stage) - start, 1e-3)
        yield Measure("l", what + stage, rate, None if place.quick else goal, "frames/s", "wanted", at_least=1)
