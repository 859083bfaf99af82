"""The generated sample through every stage, with the real models, held against its exact truth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from egoworld_assets.orchestration.registry import stages
from egoworld_assets.quality.accuracy import MEASURES, Measurement, accuracy_of
from egoworld_resources.artifacts.stage import Stage
from egoworld_resources.inbox.arrivals import Arrivals
from egoworld_resources.making.workbench import Workbench
from egoworld_resources.sample import SampleOptions, is_rendered, render, truth_folder
from egoworld_resources.settings import Settings


@dataclass(frozen=True)
class SampleFlow:
    """One workbench, the sample videos it holds, and the truth folder of each."""

    bench: Workbench
    truths: dict[str, Path]

    def measure(self) -> dict[str, list[Measurement]]:
        """What is measured of each video, in the order of the seeds."""
        return {video: accuracy_of(self.bench, video, truth) for video, truth in self.truths.items()}


def measured_stages() -> Iterator[Stage]:
    """The stages that something is measured of and those that they need, inputs first."""
    known = stages()
    needed = set(MEASURES)
    for name in reversed(known):
        if name in needed:
            needed.update(known[name].inputs)
    return (stage for name, stage in known.items() if name in needed)


def rendered(folder: Path, options: SampleOptions) -> Path:
    """A sample video, rendered once; its truth lies beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"sample-{options.seed}-{options.seconds:g}s.mp4"
    if not is_rendered(path, options):
        render(path, options)
    return path


def run_samples(home: Path, envs: Path, samples: Sequence[Path], **settings: object) -> SampleFlow:
    """Make every stage of some rendered samples in a home of their own, one model load a stage.

    envs: the folder of built model envs; settings: as Settings.load has them. What is fresh is kept. Raises
    RuntimeError for a stage that fails, with its reason.
    """
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "envs").exists():
        (home / "envs").symlink_to(envs)
    bench = Workbench(Settings.load(home=home, **settings))
    truths = {Arrivals(bench.store).take(path).video: truth_folder(path) for path in samples}
    for stage in measured_stages():
        for outcome in bench.make(stage, list(truths), "accuracy"):
            if outcome.state not in ("made", "fresh"):
                raise RuntimeError(f"{stage.name} of {outcome.video}: {outcome.state}: {outcome.why}")
    return SampleFlow(bench, truths)
