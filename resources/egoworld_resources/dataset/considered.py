"""What the last merge considered, by video: stored next to the dataset, so that a difference triggers the next merge.

The videos that a merge refused are in it too, and so are those of a merge that wrote nothing: the same would come of
them again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from egoworld_resources.artifacts.manifest import digest
from egoworld_resources.dataset.episodes import EpisodeArtifact
from egoworld_resources.leases.scratch import scratch_file


def fingerprint(artifact: EpisodeArtifact) -> str:
    """What a dataset takes over from the episodes of a video: their version, licences and lineage, in one digest."""
    facts = asdict(artifact)
    del facts["folder"]
    return digest(facts)[:32]


def note(target: Path, artifacts: Sequence[EpisodeArtifact], *, written: bool) -> None:
    """Remember what a merge into ``target`` considered. written: whether there is a dataset of it."""
    facts = {"written": written, "videos": {artifact.video: fingerprint(artifact) for artifact in artifacts}}
    target.parent.mkdir(parents=True, exist_ok=True)
    with scratch_file(target.parent) as (descriptor, name):
        with os.fdopen(descriptor, "w", encoding="utf-8", closefd=False) as file:
            json.dump(facts, file)
        os.fsync(descriptor)
        name.replace(_noted(target))


def known(target: Path) -> dict[str, str]:
    """Fingerprint by video of what the last merge into ``target`` considered; empty when there was none.

    Also when the dataset that it wrote is gone: then everything is to be merged again.
    """
    try:
        facts = json.loads(_noted(target).read_text(encoding="utf-8"))
        return {} if facts["written"] and not target.is_dir() else dict(facts["videos"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return {}


def _noted(target: Path) -> Path:
    return target.with_name(f"{target.name}.considered.json")
