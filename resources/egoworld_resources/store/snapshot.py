"""A store as it stands during one command that looks at everything: each thing is read once, not once per reader."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import lru_cache
from pathlib import Path
from typing import Any

from egoworld_resources.artifacts.made import Artifact
from egoworld_resources.artifacts.manifest import Manifest
from egoworld_resources.store.protocol import Store

REMEMBERED = 256
"""Artifacts and records kept at a time: more than those of one video, and the same memory for any number of videos."""

FEW = ("failures",)
"""Kinds of records that are asked for of every artifact and exist for few: listed once."""


class Snapshot:
    """Any store, for reading video by video. It lives for one command, so nothing out of date is seen.

    ahead: most of what there is will be read, so that the store may list all of it first.
    """

    def __init__(self, store: Store, ahead: bool = True) -> None:
        self.original = store
        self._store = store.bulk_view() if ahead else store
        self._current = lru_cache(REMEMBERED)(self._store.current)
        self._recorded = lru_cache(REMEMBERED)(self._store.recorded)
        self._few: dict[str, dict[str, dict[str, Any]]] = {}

    @property
    def incoming(self) -> Path:
        return self._store.incoming

    def bulk_view(self) -> Store:
        return self

    def reading(self) -> AbstractContextManager[None]:
        return self._store.reading()

    def folder(self, manifest: Manifest) -> Path:
        return self._store.folder(manifest)

    def location(self, manifest: Artifact) -> str:
        return self._store.location(manifest)

    def link(self, manifest: Manifest, path: str, seconds: int = 3600) -> str | None:
        return self._store.link(manifest, path, seconds)

    def put(self, staged: Path, manifest: Manifest) -> Path:
        self._current.cache_clear()
        return self._store.put(staged, manifest)

    def retire(self, asset: str, video: str) -> None:
        self._current.cache_clear()
        self._store.retire(asset, video)

    def current(self, asset: str, video: str) -> Manifest | None:
        return self._current(asset, video)

    def version(self, asset: str, video: str, data_version: str) -> Manifest | None:
        return self._store.version(asset, video, data_version)

    def verify(self, manifest: Manifest) -> list[str]:
        return self._store.verify(manifest)

    def videos(self, asset: str) -> list[str]:
        return self._store.videos(asset)

    def source(self, sha256: str, suffix: str) -> Path:
        return self._store.source(sha256, suffix)

    def add_source(self, file: Path, sha256: str, suffix: str) -> None:
        self._store.add_source(file, sha256, suffix)

    def record(self, kind: str, key: str, value: dict[str, Any] | None) -> None:
        self._recorded.cache_clear()
        self._few.clear()
        self._store.record(kind, key, value)

    def recorded(self, kind: str, key: str) -> dict[str, Any] | None:
        if kind not in FEW:
            return self._recorded(kind, key)
        if kind not in self._few:
            self._few[kind] = dict(self._store.records(kind))
        return self._few[kind].get(key)

    def keys(self, kind: str) -> list[str]:
        return self._store.keys(kind)

    def records(self, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
        return self._store.records(kind)
