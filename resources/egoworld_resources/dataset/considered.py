"""What the last merge considered, by video: stored next to the dataset, so that a difference triggers the next merge.

The videos that a merge refused are in it too, and so are those of a merge that wrote nothing: the same would come of
them again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from egoworld_resources.artifacts.manifest import digest
from egoworld_resources.dataset.episodes import EpisodeArtifact
from egoworld_resources.leases.scratch import scratch_file


def fingerprint(artifact: EpisodeArtifact) -> str:
    """What a dataset takes over from the episodes of a video: their version, licences and lineage, in one digest."""
    facts = asdict(artifact)
    del facts["folder"]
    return digest(facts)[:32]


@dataclass(frozen=True)
class Considered:
    """What the last merge considered: nothing where there was none.

    written: whether there is a dataset of it. declared: a digest of all licences and rights as they were declared then.
    fingerprints, versions: what it took of each video, and the version of the episodes.
    """

    written: bool = False
    declared: str = ""
    fingerprints: Mapping[str, str] = field(default_factory=dict[str, str])
    versions: Mapping[str, str] = field(default_factory=dict[str, str])


def note(target: Path, artifacts: Sequence[EpisodeArtifact], *, written: bool, declared: str) -> None:
    """Remember what a merge into ``target`` considered. declared: when it began."""
    fingerprints = {artifact.video: fingerprint(artifact) for artifact in artifacts}
    facts = Considered(
        written, declared, fingerprints, {artifact.video: artifact.data_version for artifact in artifacts}
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    with scratch_file(target.parent) as (descriptor, name):
        with os.fdopen(descriptor, "w", encoding="utf-8", closefd=False) as file:
            json.dump(asdict(facts), file)
        os.fsync(descriptor)
        name.replace(_noted(target))


def read(target: Path) -> Considered:
    """What the last merge into ``target`` considered; nothing when the dataset that it wrote is gone.

    Then, and when the note is of an earlier version of this program, everything is to be merged again.
    """
    try:
        found = Considered(**json.loads(_noted(target).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return Considered()
    return Considered() if found.written and not target.is_dir() else found


def _noted(target: Path) -> Path:
    return target.with_name(f"{target.name}.considered.json")
