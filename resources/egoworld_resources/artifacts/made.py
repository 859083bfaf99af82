"""What a look at many artifacts needs of each manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, Self

from pydantic import BaseModel, ConfigDict

from egoworld_resources.artifacts.manifest import Manifest, Recipe


class Artifact(Protocol):
    """What a manifest and the index both say of an artifact: enough to judge whether it is stale."""

    @property
    def asset(self) -> str: ...
    @property
    def video(self) -> str: ...
    @property
    def data_version(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def inputs(self) -> Mapping[str, str | None]: ...
    @property
    def recipe(self) -> Recipe: ...
    @property
    def quarantine(self) -> str: ...
    @property
    def rows(self) -> Mapping[str, int]: ...
    @property
    def seconds(self) -> float: ...


class Made(BaseModel):
    """An artifact as the index holds it.

    rows: of all tables together, under the asset's name; bytes: of all files; frames: that the videos stage counted;
    checks: names of those that put the video into quarantine.
    """

    model_config = ConfigDict(frozen=True)

    asset: str
    video: str
    data_version: str
    fingerprint: str
    inputs: Mapping[str, str | None]
    recipe: Recipe
    quarantine: str = ""
    checks: Sequence[str] = ()
    rows: Mapping[str, int] = {}
    seconds: float = 0.0
    bytes: int = 0
    frames: int = 0

    @classmethod
    def of(cls, manifest: Manifest) -> Self:
        """The same, of a manifest."""
        failed = sorted({verdict.check for verdict in manifest.checks if verdict.blocking and not verdict.passed})
        return cls.model_construct(
            asset=manifest.asset,
            video=manifest.video,
            data_version=manifest.data_version,
            fingerprint=manifest.fingerprint,
            inputs=dict(manifest.inputs),
            recipe=manifest.recipe,
            quarantine=manifest.quarantine,
            checks=tuple(failed),
            rows={manifest.asset: sum(manifest.rows.values())},
            seconds=manifest.seconds,
            bytes=sum(file.bytes for file in manifest.files),
            frames=int(next((clip.notes["frames"] for clip in manifest.clips if "frames" in clip.notes), 0)),
        )
