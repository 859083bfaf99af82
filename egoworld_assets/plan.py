"""What a refresh would make, why, and what it will cost, before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from rich.markup import escape
from rich.table import Table

from egoworld_resources.manifest import Manifest
from egoworld_resources.stage import Stage
from egoworld_resources.workbench import Workbench

WANTS_WORK = ("missing", "stale")
SAMPLED_VIDEOS = 20


@dataclass(frozen=True)
class Step:
    """One asset of one video that a refresh would make.

    certain: it is missing or stale now; otherwise something before it is, and it is made only if that comes out with
    other contents. seconds, gpu_seconds: from past runs; None where this stage was never run.
    """

    video: str
    asset: str
    certain: bool
    why: str
    seconds: float | None
    gpu_seconds: float | None


def plan(bench: Workbench, stages: Sequence[Stage], videos: Iterable[str]) -> list[Step]:
    """Every step of a refresh of some videos, video by video, inputs first."""
    costs = {stage.name: cost_of(bench, stage) for stage in stages}
    return [step for video in videos for step in steps_of(bench, stages, video, costs)]


def steps_of(
    bench: Workbench, stages: Sequence[Stage], video: str, costs: dict[str, tuple[float | None, bool]]
) -> list[Step]:
    """The steps of one video. What failed or is quarantined under this recipe and these inputs is no step."""
    frames = frames_of(bench, video)
    steps: dict[str, Step] = {}
    for stage in stages:
        state = bench.state(stage, video)
        behind = [asset for asset in (*stage.inputs, *stage.optional) if asset in steps]
        certain = state.condition in WANTS_WORK
        if not certain and not behind:
            continue
        why = state.why if certain else f"behind {behind[0]}: {steps[behind[0]].why.rpartition(': ')[2]}"
        per_frame, on_gpu = costs[stage.name]
        seconds = None if per_frame is None or not frames else per_frame * frames
        steps[stage.name] = Step(
            video, stage.name, certain, why, seconds, seconds if on_gpu else (None if seconds is None else 0.0)
        )
    return list(steps.values())


def cost_of(bench: Workbench, stage: Stage) -> tuple[float | None, bool]:
    """Seconds a frame of a stage took in past runs (median, those of today's env first), and whether on a GPU."""
    env = bench.env_of(stage)
    made = [(m, frames_of(bench, m.video)) for m in past(bench, stage)]
    same = [(m, frames) for m, frames in made if m.recipe.env == env and frames]
    counted = same or [(m, frames) for m, frames in made if frames]
    if not counted:
        return None, False
    return median(m.seconds / frames for m, frames in counted), any(m.gpu is not None for m, _ in counted)


def past(bench: Workbench, stage: Stage) -> list[Manifest]:
    """Live artifacts of a stage, of some videos."""
    found = (bench.store.current(stage.name, video) for video in bench.store.videos(stage.name)[:SAMPLED_VIDEOS])
    return [manifest for manifest in found if manifest]


def frames_of(bench: Workbench, video: str) -> int:
    """Frames of a video, 0 before it was probed."""
    probed = bench.store.current("videos", video)
    if probed is None:
        return 0
    return int(next((clip.notes["frames"] for clip in probed.clips if "frames" in clip.notes), 0))


def within(steps: Sequence[Step], hours: float) -> list[str]:
    """Videos whose steps, possible ones included, fit into some hours one after the other; unknown costs never fit."""
    left = hours * 3600
    fitting: list[str] = []
    for video in dict.fromkeys(step.video for step in steps):
        costs = [step.seconds for step in steps if step.video == video]
        known = [cost for cost in costs if cost is not None]
        if len(known) < len(costs) or sum(known) > left:
            continue
        left -= sum(known)
        fitting.append(video)
    return fitting


def plan_table(steps: Sequence[Step]) -> Table:
    """One line per step, and what all of it costs: at least (what is certain) and at most (all that is possible)."""
    table = Table("video", "asset", "certain", "why", "seconds", "GPU seconds", header_style="bold")
    last = ""
    for step in steps:
        if step.video != last:
            table.add_section()
        shown = "yes" if step.certain else "if its input changes"
        name = step.video if step.video != last else ""
        table.add_row(name, step.asset, shown, escape(step.why), _shown(step.seconds), _shown(step.gpu_seconds))
        last = step.video
    table.add_section()
    least = [step for step in steps if step.certain]
    for name, some in (("at least", least), ("at most", steps)):
        unknown = sum(step.seconds is None for step in some)
        note = f"{len(some)} steps" + (f", {unknown} of unknown cost" if unknown else "")
        table.add_row(name, "", "", note, _total(some, "seconds"), _total(some, "gpu_seconds"))
    return table


def _total(steps: Iterable[Step], field: str) -> str:
    values: list[Any] = [getattr(step, field) for step in steps]
    return _shown(sum(value for value in values if value is not None))


def _shown(seconds: float | None) -> str:
    return "unknown" if seconds is None else f"{seconds:,.1f}"
