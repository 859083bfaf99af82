"""lineage.json of a merged dataset: what is in it, and whether its licences still hold."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from egoworld_resources.dataset.episodes import EpisodeArtifact
from egoworld_resources.errors import BadConfiguration

LINEAGE = "lineage.json"
Recorded = tuple[str, str, str, str]
"""A licence as a dataset states it: kind, what it is of, licence, terms."""


def entries_of(dataset: Path | None) -> dict[str, dict[str, Any]]:
    """Entries of a merged dataset by video; none when it is not there or not whole."""
    if dataset is None:
        return {}
    try:
        listed = json.loads((dataset / LINEAGE).read_text(encoding="utf-8"))["videos"]
        return {entry["video"]: entry for entry in listed}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def licence_changes(dataset: Path, episodes: Sequence[EpisodeArtifact]) -> list[str]:
    """Licences and rights recorded in a merged dataset that no longer hold, by video; empty if it does not exist."""
    changes: list[str] = []
    before = entries_of(dataset)
    for artifact in episodes:
        entry = before.get(artifact.video)
        if entry is None or entry["data_version"] != artifact.data_version:
            continue
        recorded = {(one["kind"], one["of"], one["licence"], one["terms"]) for one in _listed(entry)}
        now = {(one.kind, one.of, one.licence, one.terms.value) for one in artifact.bearings()}
        words = [
            _changed(name, recorded - now, now - recorded) for name in sorted({(s[0], s[1]) for s in recorded ^ now})
        ]
        if not words and entry.get("rights") != asdict(artifact.rights):
            words = ["who provided the video, or who stated it"]
        changes += [f"{artifact.video}: {word}" for word in words]
    return changes


def _changed(name: tuple[str, str], recorded: set[Recorded], now: set[Recorded]) -> str:
    """One change in words. name: kind of a licence and what it is of."""
    was, is_ = (
        " and ".join(sorted(f"{one[2] or 'unknown'} ({one[3]})" for one in each if one[:2] == name)) or "not stated"
        for each in (recorded, now)
    )
    return f"{name[0]} of {name[1]}: {was} → {is_}"


def _listed(entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Licences of an entry of lineage.json; datasets of earlier versions listed names only."""
    return [one for one in entry.get("licences", []) if isinstance(one, dict)]


def merged_videos(dataset: Path) -> list[dict[str, Any]]:
    """The entries of a merged dataset. Raises BadConfiguration when ``dataset`` is not one."""
    try:
        return list(json.loads((dataset / LINEAGE).read_text(encoding="utf-8"))["videos"])
    except (OSError, ValueError, KeyError) as error:
        raise BadConfiguration(
            f"{dataset} is not a merged dataset ({error}); `egoworld refresh` makes it once a video has episodes"
        ) from error
