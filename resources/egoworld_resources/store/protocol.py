"""What every store does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from egoworld_resources.artifacts.made import Artifact
from egoworld_resources.artifacts.manifest import Manifest
from egoworld_resources.artifacts.stored import StoredObject


class Store(Protocol):
    """What the flow asks of a store.

    A reader sees all of an artifact or nothing of it; contents never change under a version.

    Paths that a store hands out are for reading only. They stay readable until the end of the ``reading`` block that
    they were asked for in, without one as long as the store is in use.
    """

    @property
    def incoming(self) -> Path:
        """A folder of this machine for files that are to be moved into the store."""
        ...

    def reading(self) -> AbstractContextManager[None]:
        """What is handed out inside stays readable until its end, and may go from this machine after it."""
        ...

    def bulk_view(self) -> Store:
        """The same store for one look at much of it, by fewer requests; what it read once may be out of date."""
        ...

    def folder(self, manifest: Manifest) -> Path:
        """An artifact's files, readable on this machine. May raise DamagedArtifact."""
        ...

    def location(self, manifest: Artifact) -> str:
        """Where an artifact lies, for people: a path or an s3:// URL. Nothing is read for it."""
        ...

    def link(self, manifest: Manifest, path: str, seconds: int = 3600) -> str | None:
        """A URL by which a browser gets one file of an artifact for a while; None when the store has none."""
        ...

    def put(self, staged: Path, manifest: Manifest) -> Path:
        """Take a finished folder in, manifest last, and make it the live version; returns where it is readable."""
        ...

    def retire(self, asset: str, video: str) -> None:
        """Let no version of an asset be live any more. What was made from one still finds it; gc removes it in time."""
        ...

    def current(self, asset: str, video: str) -> Manifest | None:
        """The live version's manifest, or None. Raises DamagedArtifact when it is named but not readable."""
        ...

    def version(self, asset: str, video: str, data_version: str) -> Manifest | None:
        """The manifest of one version, live or not; None when it is not (or no longer) here. Raises DamagedArtifact."""
        ...

    def verify(self, manifest: Manifest) -> list[str]:
        """Names what is missing or damaged in an artifact; empty when every byte is as the manifest says."""
        ...

    def videos(self, asset: str) -> list[str]:
        """Videos that have a live version of an asset, in name order."""
        ...

    def source(self, sha256: str, suffix: str) -> Path:
        """The bytes of a video, readable on this machine."""
        ...

    def add_source(self, file: Path, sha256: str, suffix: str) -> None:
        """Take a file of ``incoming`` in as a video's bytes; the file is moved."""
        ...

    def record(self, kind: str, key: str, value: dict[str, Any] | None) -> None:
        """Write, or with None remove, a small fact."""
        ...

    def recorded(self, kind: str, key: str) -> dict[str, Any] | None:
        """A small fact, or None. Raises DamagedArtifact when it is there and cannot be read."""
        ...

    def records(self, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """All facts of a kind, in key order; one that is damaged is named in the log and left out."""
        ...

    def keys(self, kind: str) -> list[str]:
        """Keys of all facts of a kind, in order; the facts are not read. Of "": of every kind, as <kind>/<key>."""
        ...


class Inspected(Store, Protocol):
    """A store as fsck and gc see it: plain objects under keys."""

    def objects(self, prefix: str) -> Iterator[StoredObject]:
        """Every object below a prefix; those of one artifact follow each other."""
        ...

    def assets(self) -> list[str]:
        """Names of the assets of which anything lies here."""
        ...

    def digest(self, key: str) -> str:
        """SHA-256 of the bytes that the store itself holds. Raises FileNotFoundError."""
        ...

    def invalidate(self, asset: str, video: str, data_version: str) -> None:
        """Make a version one that was never made: without its manifest, and not live. Its files stay for gc."""
        ...

    def remove(self, keys: Sequence[str]) -> None:
        """Remove objects in this order; those that are not there count as removed."""
        ...

    def exclusive_if_unread(self, key: str) -> AbstractContextManager[bool]:
        """Whether nobody reads a version from the store's own files; while it lasts nobody begins to."""
        ...
