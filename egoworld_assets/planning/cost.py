"""What a stage costs by past runs. What was never measured here has no price."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from egoworld_resources.artifacts.manifest import Manifest
from egoworld_resources.artifacts.stage import Stage
from egoworld_resources.errors import DamagedArtifact
from egoworld_resources.making.job import VIDEOS
from egoworld_resources.making.workbench import SOURCE, Workbench

SAMPLED_VIDEOS = 40


@dataclass(frozen=True)
class Cost:
    """Seconds that a frame of a stage takes and that its model takes to load; None where nothing was measured.

    gpu: whether the model holds a GPU during both.
    """

    per_frame: float | None
    load: float | None
    gpu: bool


def cost_of(bench: Workbench, stage: Stage) -> Cost:
    """The median over past runs of a stage on the device in force, today's env first, then other envs."""
    recipe = bench.recipe(stage)
    past = [(m, frames_made_of(bench, m)) for m in sampled(bench, stage.name) if m.recipe.device == recipe.device]
    measured = [(m.recipe.env, m.seconds / frames) for m, frames in past if frames]
    counted = [cost for env, cost in measured if env == recipe.env] or [cost for _, cost in measured]
    load = bench.store.recorded("loads", f"{stage.name}/{recipe.env}")
    loaded = float(load["seconds"]) if load and load["device"] == recipe.device else None
    return Cost(median(counted) if counted else None, loaded, recipe.device == "cuda")


def frames_of(bench: Workbench, video: str) -> int:
    """Frames of a video, 0 before it was probed."""
    probed = readable(bench, VIDEOS, video)
    return frames_in(probed) if probed else 0


def frames_expected(bench: Workbench, video: str, per_byte: float | None) -> float | None:
    """Frames of a video as it is now: probed or, when these bytes were not yet, judged by the size of its file."""
    facts = bench.store.recorded("videos", video) or {}
    probed = readable(bench, VIDEOS, video)
    if probed and frames_in(probed) and probed.inputs.get(SOURCE) == facts.get("sha256"):
        return frames_in(probed)
    return per_byte * facts["bytes"] if per_byte and facts.get("bytes") else None


def frames_per_byte(bench: Workbench) -> float | None:
    """The median over probed videos; None when there is none."""
    shares = [frames_in(m) / m.source["bytes"] for m in sampled(bench, VIDEOS) if m.source.get("bytes")]
    return median(shares) if shares else None


def frames_made_of(bench: Workbench, made: Manifest) -> int:
    """Frames that an artifact was made of; 0 when its video has other bytes by now."""
    probed = readable(bench, VIDEOS, made.video)
    same = probed is not None and probed.inputs.get(SOURCE) == made.inputs.get(SOURCE)
    return frames_in(probed) if probed and same else 0


def frames_in(probed: Manifest) -> int:
    """Frames that the videos stage counted."""
    return int(next((clip.notes["frames"] for clip in probed.clips if "frames" in clip.notes), 0))


def sampled(bench: Workbench, asset: str) -> Iterator[Manifest]:
    """Live artifacts of an asset, evenly spread over the videos."""
    videos: Sequence[str] = bench.store.videos(asset)
    for number in range(min(SAMPLED_VIDEOS, len(videos))):
        found = readable(bench, asset, videos[number * len(videos) // min(SAMPLED_VIDEOS, len(videos))])
        if found:
            yield found


def readable(bench: Workbench, asset: str, video: str) -> Manifest | None:
    """A live artifact's manifest; a damaged one, which status shows, has no costs."""
    try:
        return bench.store.current(asset, video)
    except DamagedArtifact:
        return None
