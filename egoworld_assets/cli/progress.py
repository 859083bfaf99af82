"""Progress with an ETA while the flow runs in a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from egoworld_assets.planning.cost import cost_of, frames_of
from egoworld_resources.artifacts.stage import Stage
from egoworld_resources.making.workbench import Workbench
from egoworld_resources.running.process import Event

UNKNOWN_COST = 0.03
"""Seconds a frame takes in a stage that was never run here; replaced by what was measured as soon as there is some."""


class FlowProgress:
    """One bar over all stages. A stage weighs what a frame of it cost in past runs, so the ETA holds across stages."""

    def __init__(self, bench: Workbench, bar: Progress, stages: Sequence[Stage], videos: Sequence[str]) -> None:
        self._bench = bench
        self._bar = bar
        self._cost = {stage.name: cost_of(bench, stage).per_frame or UNKNOWN_COST for stage in stages}
        self._frames = {video: frames_of(bench, video) for video in videos}
        self._task: TaskID = bar.add_task("starting", total=None)
        self._stages = list(stages)
        self._done_cost = 0.0
        self._unit: dict[tuple[str, str], float] = {}

    def begin(self, stage: Stage, videos: Sequence[str]) -> None:
        """A stage starts on some videos."""
        self._frames.update({video: frames_of(self._bench, video) for video in videos})
        self._unit.clear()
        if not self._bar.console.is_terminal and videos:
            self._bar.console.print(f"{stage.name}: {len(videos)} to make", highlight=False)
        self._bar.update(self._task, description=stage.name, total=self._total() or None)

    def listen(self, stage: str, event: Event) -> None:
        """Take an event of a running job."""
        if event["event"] == "loaded":
            self._bar.update(self._task, description=f"{stage} (model loaded in {event['seconds']:.1f} s)")
        elif event["event"] == "progress":
            self._unit[event["video"], event["unit"]] = event["done"]
            done = sum(self._unit.values()) * self._cost[stage]
            self._bar.update(self._task, description=stage, completed=self._done_cost + done)

    def end(self, stage: Stage) -> None:
        """A stage is through."""
        self._done_cost += sum(self._frames.values()) * self._cost[stage.name]
        self._bar.update(self._task, completed=self._done_cost, total=self._total() or None)

    def _total(self) -> float:
        return sum(self._frames.values()) * sum(self._cost.values())


def flow_bar(console: Console) -> Progress:
    """The bar: stage, share done, time so far and left."""
    return Progress(
        TextColumn("{task.description:<42}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
