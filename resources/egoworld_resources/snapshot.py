"""A store as it stands during one command that looks at everything: each file is read once, not once per reader."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from egoworld_resources.manifest import Manifest
from egoworld_resources.store import FolderStore

REMEMBERED = 256
"""Artifacts and records kept at a time: more than those of one video, and the same memory for any number of videos."""


class Snapshot(FolderStore):
    """A folder store for reading video by video. It lives for one command, so nothing out of date is seen."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._current = lru_cache(REMEMBERED)(super().current)
        self._recorded = lru_cache(REMEMBERED)(super().recorded)

    def current(self, asset: str, video: str) -> Manifest | None:
        return self._current(asset, video)

    def recorded(self, kind: str, key: str) -> dict[str, Any] | None:
        return self._recorded(kind, key)

    def put(self, staged: Path, manifest: Manifest) -> Path:
        self._current.cache_clear()
        return super().put(staged, manifest)

    def record(self, kind: str, key: str, value: dict[str, Any] | None) -> None:
        self._recorded.cache_clear()
        super().record(kind, key, value)
