"""episodes: the video as robot-learning episodes."""

from pathlib import Path
from typing import Any

import dagster as dg
from filelock import FileLock

from egoworld_assets import checks
from egoworld_assets.partitions import Step, materialize, stage_asset
from egoworld_resources.dataset import ArtifactLineage, EpisodeArtifact, considered, merge
from egoworld_resources.errors import EgoworldError, Transient
from egoworld_resources.manifest import Manifest, file_digest
from egoworld_resources.stage import Stage
from egoworld_resources.workbench import Workbench

STAGE = Stage(
    "episodes",
    env="base",
    inputs=("videos", "clips", "hand_poses", "robot_trajectories"),
    optional=("masks", "tracks", "reconstructions", "object_poses"),
    unit="video",
    checks=(checks.has_files("meta/info.json"),),
)


@stage_asset(STAGE, kinds={"table"})
def episodes(context: dg.AssetExecutionContext, bench: dg.ResourceParam[Workbench]) -> Step:
    """One LeRobot v3.0 dataset per video: an episode per clip with hand, camera, objects and robot joints."""
    yield from materialize(context, bench, STAGE)


@dg.asset(deps=[episodes], group_name="dataset", kinds={"lerobot"}, owners=["team:egoworld"], pool="cpu")
def dataset(context: dg.AssetExecutionContext, bench: dg.ResourceParam[Workbench]) -> dg.MaterializeResult[Any]:
    """One LeRobot v3.0 dataset over all videos that pass their checks; unchanged videos are not copied again."""
    target = bench.layout.dataset
    with FileLock(target.with_suffix(".lock")), bench.store.reading():
        usable = usable_episodes(bench)
        report = merge(usable, target, previous=target if target.is_dir() else None)
        considered.note(target, usable, written=report.written)
    for video, why in report.refused.items():
        context.log.warning("%s is not in the dataset: %s", video, why)
    if not report.written:
        raise dg.Failure("no video has usable episodes; see `egoworld status`", allow_retries=False)
    return dg.MaterializeResult(
        metadata={
            "videos": len(report.videos),
            "episodes": report.episodes,
            "frames": report.frames,
            "files_linked": report.linked,
            "files_rewritten": report.rewritten,
            "commercial": report.commercial,
            "licences": ", ".join(report.licences),
            "refused": dg.MetadataValue.json(dict(report.refused)),
            "folder": dg.MetadataValue.path(str(target)),
        },
        data_version=dg.DataVersion(file_digest(target / "lineage.json")[:32]),
    )


def usable_episodes(bench: Workbench) -> list[EpisodeArtifact]:
    """The episodes of every video whose current state is fresh: not stale, failed or quarantined."""
    found = (usable(bench, video) for video in bench.store.videos(STAGE.name))
    return [artifact_of(bench, made, bench.store.folder(made)) for made in found if made]


def usable(bench: Workbench, video: str) -> Manifest | None:
    """The episodes of a video that belong into the dataset; a video that cannot be judged has none.

    Raises Transient when the store does not answer: then nothing is known, and no video is left out for it.
    """
    try:
        state = bench.state(STAGE, video)
    except Transient:
        raise
    except EgoworldError:
        return None
    return state.manifest if state.condition == "fresh" else None


def artifact_of(bench: Workbench, made: Manifest, folder: Path) -> EpisodeArtifact:
    """Episodes as a merge takes them, with what they were made from. folder: where their files lie."""
    return EpisodeArtifact(
        video=made.video,
        folder=folder,
        data_version=made.data_version,
        licences=made.licences,
        sha256=made.source["sha256"],
        lineage=[lineage_of(made), *(lineage_of(up) for up in inputs_of(bench, made))],
    )


def inputs_of(bench: Workbench, made: Manifest) -> list[Manifest]:
    """The manifests of all artifacts behind one, each once."""
    found: dict[str, Manifest] = {}
    for asset, version in made.inputs.items():
        up = bench.store.version(asset, made.video, version) if version else None
        if up and asset not in found:
            found[asset] = up
            found.update({m.asset: m for m in inputs_of(bench, up)})
    return [found[name] for name in sorted(found)]


def lineage_of(made: Manifest) -> ArtifactLineage:
    """One line of the dataset card."""
    recipe = made.recipe
    return ArtifactLineage(made.asset, made.data_version, recipe.env, recipe.licence, recipe.label)
