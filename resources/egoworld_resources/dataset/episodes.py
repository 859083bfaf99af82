"""One video's episodes as input of the merge: where they are, what they come from and which licences apply."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from egoworld_resources.licences.terms import Terms
from egoworld_resources.rights.bearing import Bearing
from egoworld_resources.rights.source_videos import UNKNOWN, Rights


@dataclass(frozen=True)
class ArtifactLineage:
    """One artifact that the episodes were made from: its version, the model env that made it, what bears on it.

    remark: what is missing in it, and why.
    """

    asset: str
    data_version: str
    env: str
    licences: Sequence[Bearing] = ()
    label: str = ""
    remark: str = ""

    def as_json(self) -> dict[str, Any]:
        """For lineage.json."""
        licences = [bearing.as_json() for bearing in self.licences]
        facts = {name: getattr(self, name) for name in ("asset", "data_version", "env", "label", "remark")}
        return {**facts, "licences": licences}


@dataclass(frozen=True)
class EpisodeArtifact:
    """The episodes of one video. folder: the artifact; sha256: of the video file.

    rights: in the source video; bearing: the licence behind them. Without one the video is not for commercial use.
    """

    video: str
    folder: Path
    data_version: str
    sha256: str = ""
    lineage: Sequence[ArtifactLineage] = ()
    rights: Rights = UNKNOWN
    bearing: Bearing | None = None

    def bearings(self) -> list[Bearing]:
        """All licences that bear on it: of the video first, then of every artifact behind it."""
        unknown = Bearing("rights", self.video, "", Terms.UNCLEAR, "none", "nobody has stated the rights in this video")
        ordered = sorted(self.lineage, key=lambda one: one.asset)
        return [self.bearing or unknown, *(bearing for entry in ordered for bearing in entry.licences)]

    def offending(self) -> list[Bearing]:
        """What forbids commercial use, or may."""
        return [bearing for bearing in self.bearings() if not bearing.commercial]
