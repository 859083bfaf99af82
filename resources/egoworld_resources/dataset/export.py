"""Hand a dataset out: a separate copy under the current licences, refused if they do not allow the purpose."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from egoworld_resources.dataset.episodes import EpisodeArtifact
from egoworld_resources.dataset.merge import MergeReport, merge
from egoworld_resources.errors import BadConfiguration, Terminal

NAMED = 50
"""Offending licences that a refusal lists; the rest is counted."""


class LicenceRefused(Terminal):
    """The dataset's licences do not allow this export; the message lists every video and what forbids it."""


@dataclass(frozen=True)
class Exported:
    """What was handed out. left_out: videos that do not allow commercial use, and what forbids it."""

    report: MergeReport
    left_out: Mapping[str, Sequence[str]]


def export(
    dataset: Path, episodes: Sequence[EpisodeArtifact], target: Path, *, commercial: bool, leave_out: bool = False
) -> Exported:
    """Copy a merged dataset to ``target`` (real copies: the receiver may change them), whole or not at all.

    episodes: those that are in it, with the current licences. leave_out: a commercial export leaves out the videos
    that do not allow it. Raises LicenceRefused for a commercial export with a licence that forbids it or is unclear,
    and BadConfiguration when ``target`` exists.
    """
    if target.exists() or target.is_symlink():
        raise BadConfiguration(f"{target} exists; give a folder that does not, or remove it")
    offending = {one.video: [str(found) for found in one.offending()] for one in episodes} if commercial else {}
    offending = {video: found for video, found in offending.items() if found}
    kept = [one for one in episodes if one.video not in offending]
    if offending and (not leave_out or not kept):
        raise LicenceRefused(_refusal(dataset, offending, nothing_left=not kept))
    report = merge(kept, target, previous=dataset, take=_copy)
    if not report.written:
        raise BadConfiguration(f"{dataset} has no video that can be exported: {dict(report.refused)}")
    return Exported(report, offending)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _refusal(dataset: Path, offending: Mapping[str, Sequence[str]], *, nothing_left: bool) -> str:
    lines = [f"{video}: {found}" for video, each in offending.items() for found in each]
    rest = f"\n  and {len(lines) - NAMED} more" if len(lines) > NAMED else ""
    narrowed = "" if nothing_left else "; or leave those videos out: --exclude-noncommercial"
    return (
        f"{dataset.name} cannot be exported for commercial use; these forbid it or are unclear:\n  "
        + "\n  ".join(lines[:NAMED])
        + rest
        + "\nstate the rights in the videos (`egoworld rights`), make them again with other models, correct what is "
        "declared wrongly ([licences] of egoworld.toml), or export without --commercial" + narrowed
    )
