"""What a stage costs by past runs. What was never measured here has no price."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from egoworld_resources.artifacts.made import Made
from egoworld_resources.artifacts.stage import Stage
from egoworld_resources.making.state import SOURCE, VIDEOS
from egoworld_resources.making.views import OneByOne, View, facts_of
from egoworld_resources.making.workbench import Workbench

SAMPLED_VIDEOS = 40


@dataclass(frozen=True)
class Cost:
    """Seconds that a frame of a stage takes and that its model takes to load; None where nothing was measured.

    gpu: whether the model holds a GPU during both.
    """

    per_frame: float | None
    load: float | None
    gpu: bool


def cost_of(bench: Workbench, stage: Stage, view: View | None = None) -> Cost:
    """The median over past runs of a stage on the device in force, today's env first, then other envs.

    view: where past runs are looked up; default the manifests.
    """
    view = view or OneByOne(bench, ())
    recipe = bench.recipe(stage)
    past = [made for made in sampled(view, stage.name).values() if made.recipe.device == recipe.device]
    frames = frames_made_of(view, past)
    measured = [(made.recipe.env, made.seconds / frames[made.video]) for made in past if frames.get(made.video)]
    counted = [cost for env, cost in measured if env == recipe.env] or [cost for _, cost in measured]
    load = bench.store.recorded("loads", f"{stage.name}/{recipe.env}")
    loaded = float(load["seconds"]) if load and load["device"] == recipe.device else None
    return Cost(median(counted) if counted else None, loaded, recipe.device == "cuda")


def frames_of(bench: Workbench, video: str) -> int:
    """Frames of a video, 0 before it was probed."""
    probed = OneByOne(bench, ()).made(VIDEOS, [video]).get(video)
    return probed.frames if probed else 0


def frames_expected(view: View, videos: Sequence[str], per_byte: float | None) -> dict[str, float | None]:
    """Frames of videos as they are now: probed or, where these bytes were not yet, judged by the size of the file."""
    probed = view.frames(videos)
    found: dict[str, float | None] = {video: probed.get(video) for video in videos}
    if per_byte:
        sizes = view.sizes([video for video in videos if video not in probed])
        found |= {video: per_byte * size for video, size in sizes.items() if size}
    return found


def frames_per_byte(view: View) -> float | None:
    """The median over probed videos; None when there is none."""
    shares: list[float] = []
    for video, made in sampled(view, VIDEOS).items():
        facts = facts_of(view, video)
        if facts.get("bytes") and facts.get("sha256") == made.inputs.get(SOURCE):
            shares.append(made.frames / facts["bytes"])
    return median(shares) if shares else None


def frames_made_of(view: View, past: Sequence[Made]) -> Mapping[str, int]:
    """Frames that artifacts were made of, by video; one whose video has other bytes by now is left out."""
    probed = view.made(VIDEOS, [made.video for made in past])
    pairs = ((made, probed[made.video]) for made in past if made.video in probed)
    return {made.video: video.frames for made, video in pairs if made.inputs.get(SOURCE) == video.inputs.get(SOURCE)}


def sampled(view: View, asset: str) -> Mapping[str, Made]:
    """Live artifacts of an asset, evenly spread over the videos."""
    videos = view.having(asset)
    count = min(SAMPLED_VIDEOS, len(videos))
    return view.made(asset, [videos[number * len(videos) // count] for number in range(count)])
