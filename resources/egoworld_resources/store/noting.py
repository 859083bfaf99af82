"""What a store tells its index. It is opened by the first who needs it, so other commands load no database."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from egoworld_resources.artifacts.manifest import Manifest
    from egoworld_resources.store.index import Index

Open = Callable[[], "Index"]
LAYOUT = 2
"""Of the tables of the index; another one when one of them changes: then it is made again from the store."""
INDEXES = "indexes"
"""Kind of the facts by which indexes of other machines are noticed: what they write does not stand in ours."""


class Noting(ABC):
    """A store with an index, or without one."""

    def __init__(self, index: Open | None) -> None:
        self._open_index = index
        self._known = False

    @cached_property
    def index(self) -> Index | None:
        """What is made, as one table; None for a store that is looked at by itself."""
        return self._open_index() if self._open_index else None

    @abstractmethod
    def current(self, asset: str, video: str) -> Manifest | None: ...
    @abstractmethod
    def recorded(self, kind: str, key: str) -> dict[str, Any] | None: ...
    @abstractmethod
    def record(self, kind: str, key: str, value: dict[str, Any] | None) -> None: ...

    def _changing(self, asset: str, video: str) -> AbstractContextManager[None]:
        """The live version of an asset of a video changes inside."""
        return self._noted("artifact", asset, video)

    def _recording(self, kind: str, key: str) -> AbstractContextManager[None]:
        """A small fact is written or removed inside. The index holds failures of an asset of a video, and videos."""
        asset, _, video = key.partition("/")
        if kind == "failures" and video:
            return self._noted("failure", asset, video)
        return self._noted("video", "", key) if kind == "videos" else nullcontext()

    def _noted(self, kind: Any, asset: str, video: str) -> AbstractContextManager[None]:
        if self.index is None:
            return nullcontext()
        from egoworld_resources.store.rows import Place

        if not self._known:
            self.index.settle_left(self)
            if self.recorded(INDEXES, self.index.name) is None:
                self.record(INDEXES, self.index.name, {})
            self._known = True
        return self.index.changing(self, Place(kind, asset, video))
