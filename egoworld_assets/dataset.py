"""dataset: one LeRobot dataset over all videos."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from egoworld_assets.episodes import STAGE as EPISODES
from egoworld_assets.orchestration.registry import stages
from egoworld_resources.artifacts.manifest import Manifest, digest
from egoworld_resources.artifacts.stage import Stage
from egoworld_resources.dataset import considered
from egoworld_resources.dataset.episodes import ArtifactLineage, EpisodeArtifact
from egoworld_resources.dataset.lineage import LINEAGE, licence_changes, merged_videos
from egoworld_resources.errors import BadConfiguration, EgoworldError, Transient
from egoworld_resources.leases.locks import locked
from egoworld_resources.making.state import A, State
from egoworld_resources.making.views import View, view_of
from egoworld_resources.making.workbench import SOURCE, Workbench
from egoworld_resources.rights.bearing import LicenceBook
from egoworld_resources.rights.source_videos import rights_of, rights_stamp

if TYPE_CHECKING:
    from egoworld_resources.dataset.merge import MergeReport


class Judging(Protocol[A]):
    """What says how the artifact of a video stands: a workbench, or a view of many videos."""

    def state(self, stage: Stage, video: str) -> State[A]: ...


def merge_usable(bench: Workbench) -> MergeReport:
    """Merge the episodes of all videos that pass their checks; unchanged videos are not copied again."""
    from egoworld_resources.dataset.merge import merge

    target = bench.layout.dataset
    with locked(target.with_suffix(".lock")), bench.store.reading():
        declared = declarations(bench)
        found = usable_episodes(bench)
        report = merge(found, target, previous=target if target.is_dir() else None)
        considered.note(target, found, written=report.written, declared=declared)
    return report


def usable_episodes(bench: Workbench) -> list[EpisodeArtifact]:
    """The episodes of every video whose current state is fresh: not stale, failed or quarantined."""
    found = (usable(bench, video) for video in usable_videos(bench))
    return [artifact_of(bench, made, bench.store.folder(made)) for made in found if made]


def usable_videos(bench: Workbench) -> list[str]:
    """Videos whose episodes are fresh: judged by the index of the store where they are many."""
    return sorted(usable_in(view_of(bench, [EPISODES], None)))


def usable_in(view: View) -> list[str]:
    """The same of the videos of a view, of those that stand alike one judged for all."""
    return [video for group in view.groups() if usable(view, group.example) for video in group.videos]


def usable(look: Judging[A], video: str) -> A | None:
    """The episodes of a video that belong into the dataset; a video that cannot be judged has none.

    Raises Transient when the store does not answer: then nothing is known, and no video is left out for it.
    """
    try:
        state = look.state(EPISODES, video)
    except Transient:
        raise
    except EgoworldError:
        return None
    return state.manifest if state.condition == "fresh" else None


def merged_episodes(bench: Workbench) -> list[EpisodeArtifact]:
    """The very episodes that are in the merged dataset, with the current licences.

    Raises BadConfiguration when there is no dataset, or when a version in it is gone from the store.
    """
    found: list[EpisodeArtifact] = []
    for entry in merged_videos(bench.layout.dataset):
        made = bench.store.version(EPISODES.name, entry["video"], entry["data_version"])
        if made is None:
            raise BadConfiguration(
                f"the episodes of {entry['video']} in the dataset ({entry['data_version'][:12]}) are gone from the "
                "store; make the dataset again: egoworld refresh"
            )
        found.append(artifact_of(bench, made, bench.store.folder(made)))
    return found


def artifact_of(bench: Workbench, made: Manifest, folder: Path) -> EpisodeArtifact:
    """Episodes as a merge takes them, with what they were made from and the licences that bear on them today.

    folder: where their files lie.
    """
    book = bench.licences
    rights = rights_of(bench.store, bench.settings.rights, made.video, made.source["sha256"])
    ups, whole = inputs_of(bench, made)
    lost = () if whole else book.of_lost_inputs(made)
    own = lineage_of(book, made)
    return EpisodeArtifact(
        video=made.video,
        folder=folder,
        data_version=made.data_version,
        sha256=made.source["sha256"],
        lineage=[replace(own, licences=(*own.licences, *lost)), *(lineage_of(book, up) for up in ups)],
        rights=rights,
        bearing=book.of_rights(rights, made.video),
    )


def inputs_of(bench: Workbench, made: Manifest) -> tuple[list[Manifest], bool]:
    """The manifests of all artifacts behind one, each once, and whether none of them is gone.

    One asset may be there in two versions, when an input was made from an older one than the artifact itself.
    """
    found: dict[tuple[str, str], Manifest] = {}
    whole = True
    waiting = [made]
    while waiting:
        one = waiting.pop()
        for asset, version in one.inputs.items():
            if version is None or asset == SOURCE or (asset, version) in found:
                continue
            up = bench.store.version(asset, made.video, version)
            if up is None:
                whole = False
            else:
                found[asset, version] = up
                waiting.append(up)
    return [found[name] for name in sorted(found)], whole


def lineage_of(book: LicenceBook, made: Manifest) -> ArtifactLineage:
    """One line of the dataset card."""
    recipe = made.recipe
    return ArtifactLineage(made.asset, made.data_version, recipe.env, book.bearing_on(made), recipe.label, made.remark)


def stale_licences(bench: Workbench) -> list[str]:
    """What the merged dataset says of licences and rights that no longer holds; a merge puts it right, without making
    an artifact again.
    """
    merged = bench.layout.dataset
    last = considered.read(merged)
    if not (merged / LINEAGE).is_file() or (last.written and last.declared == declarations(bench)):
        return []
    found = (usable(bench, video) for video in usable_videos(bench))
    return licence_changes(merged, [artifact_of(bench, made, merged) for made in found if made])


def declarations(bench: Workbench) -> str:
    """A digest of how every stage is made and licensed now: a corrected licence and newly stated rights change it."""
    facts: dict[str, Any] = {"rights": rights_stamp(bench.store), "stated": bench.settings.rights.model_dump()}
    facts["licences"] = bench.settings.licences.model_dump()
    for name, stage in stages().items():
        model = bench.catalog.model(name, bench.env_of(stage))
        facts[name] = [model.licence, model.outputs, *(f"{weight.name} {weight.licence}" for weight in model.weights)]
    return digest(facts)
