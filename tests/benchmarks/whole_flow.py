"""The flow over some videos as the command line runs it, in a process of its own: prints what it did as JSON.

`python -m tests.benchmarks.whole_flow VIDEO...` with EGOWORLD_HOME set; without a video it only readies the home.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from egoworld_assets.cli.flow import run_flow, take
from egoworld_assets.cli.progress import FlowProgress, flow_bar
from egoworld_assets.orchestration.instance import dagster_quiet, instance_of
from egoworld_assets.orchestration.registry import stages
from egoworld_resources.artifacts.stage import Stage
from egoworld_resources.making.workbench import Workbench
from egoworld_resources.running.process import Event
from egoworld_resources.settings import Settings


class Counted(FlowProgress):
    """The progress of the command line, which also counts model loads and takes the time of every stage."""

    loads: Counter[str]
    seconds: dict[str, float]

    def begin(self, stage: Stage, videos: Sequence[str]) -> None:
        self.began = time.perf_counter()
        super().begin(stage, videos)

    def listen(self, stage: str, event: Event) -> None:
        self.loads[stage] += event["event"] == "loaded"
        super().listen(stage, event)

    def end(self, stage: Stage) -> None:
        super().end(stage)
        self.seconds[stage.name] = round(time.perf_counter() - self.began, 3)


def main(videos: Sequence[str]) -> None:
    bench = Workbench(Settings.load())
    began = time.perf_counter()
    with dagster_quiet(), instance_of(bench) as instance, flow_bar(Console(stderr=True)) as bar:
        if not videos:
            return
        taken, refused = take(bench, instance, [Path(video) for video in videos])
        took = time.perf_counter() - began
        keys = [arrival.video for arrival in taken]
        progress = Counted(bench, bar, list(stages().values()), keys)
        progress.loads, progress.seconds = Counter(), {}
        faults = run_flow(bench, instance, keys, progress)
    seconds = time.perf_counter() - began
    parts = {"take": round(took, 3), **progress.seconds}
    parts["dataset and the rest"] = round(seconds - sum(parts.values()), 3)
    print(json.dumps({"seconds": seconds, "parts": parts, "loads": progress.loads, "faults": refused + faults}))


if __name__ == "__main__":
    main(sys.argv[1:])
