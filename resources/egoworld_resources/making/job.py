"""What a runner is given for one video, and the job file of many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from egoworld_resources.artifacts.manifest import Recipe
from egoworld_resources.environments.catalog import StageModel
from egoworld_resources.making.state import VIDEOS
from egoworld_resources.weights import ModelPaths, local_weights
from egoworld_runner.job import WHOLE, Job, Span, VideoJob

if TYPE_CHECKING:
    from egoworld_resources.weights.bucket import WeightsBucket


@dataclass(frozen=True)
class VideoWork:
    """One video of a job: its bytes under the name people know, its inputs, its clips, where the result goes.

    folders: artifact folder by input asset, None for an optional one that does not exist. clips: clip id, start and
    end frame in time order; None for the whole video as one clip.
    """

    video: str
    path: Path
    name: str
    folders: Mapping[str, Path | None]
    clips: Sequence[tuple[str, int, int]] | None
    output: Path

    @property
    def units(self) -> list[str]:
        """Names of the folders that the runner writes below ``output``."""
        return [WHOLE] if self.clips is None else [clip for clip, _, _ in self.clips]

    def video_job(self) -> VideoJob:
        """This work as the runner reads it."""
        probed = self.folders.get(VIDEOS)
        return VideoJob(
            video=self.video,
            path=str(self.path),
            frames=str(probed / "frames.parquet") if probed else None,
            inputs={asset: str(folder) if folder else None for asset, folder in self.folders.items()},
            output=str(self.output),
            clips=None if self.clips is None else tuple(Span(start, end) for _, start, end in self.clips),
            name=self.name,
        )


def build_job(
    recipe: Recipe,
    model: StageModel,
    works: Sequence[VideoWork],
    python: Path,
    bucket: WeightsBucket | None = None,
    paths: ModelPaths | None = None,
) -> Job:
    """The job of many videos for one model; raises WeightsMissing.

    python: the interpreter of the model's env. bucket: where weights come from that are not on this machine; paths:
    where they lie when they are.
    """
    weights = local_weights(model.weights, python, bucket, paths, recipe.env)
    return Job(
        stage=recipe.stage,
        folder=str(model.folder),
        entry=recipe.model,
        device=recipe.device,
        params=recipe.params,
        weights={name: str(path) for name, path in weights.items()},
        videos=tuple(work.video_job() for work in works),
    )
