"""What earlier stages said about a clip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from egoworld_runner.errors import ClipFailed
from egoworld_runner.tables import empty_table


@dataclass(frozen=True)
class Inputs:
    """The artifacts that a stage reads, by asset name; only rows and files of one clip are shown.

    ``clip_id`` is None when the clip is the whole video: then all rows are shown. An optional artifact that could not
    be made is None: it has no rows and no folder.
    """

    artifacts: Mapping[str, Path | None]
    clip_id: str | None

    def has(self, asset: str) -> bool:
        """Whether an artifact was given and exists."""
        return self.artifacts.get(asset) is not None

    def _artifact(self, asset: str) -> Path | None:
        if asset not in self.artifacts:
            given = ", ".join(sorted(self.artifacts)) or "none"
            raise ClipFailed(f"this stage was given no artifact '{asset}' (given: {given}); add it to the job's inputs")
        return self.artifacts[asset]

    def table(self, asset: str, table: str | None = None) -> pa.Table:
        """Rows of ``<table>.parquet`` in an artifact (the table named like the asset by default), file order kept."""
        artifact = self._artifact(asset)
        if artifact is None:
            return empty_table(table or asset)
        path = artifact / f"{table or asset}.parquet"
        if not path.is_file():
            raise ClipFailed(f"artifact '{asset}' has no {path.name}; make it again with the current code")
        keep = None if self.clip_id is None else [("clip_id", "=", self.clip_id)]
        return pq.read_table(path, filters=keep)

    def rows(self, asset: str, table: str | None = None) -> list[dict[str, Any]]:
        """The same as plain dictionaries; vectors are flat lists, row-major."""
        return self.table(asset, table).to_pylist()

    def folder(self, asset: str) -> Path:
        """The files that an earlier stage left for this clip; for the whole video, the artifact itself.

        The folder need not exist: a stage may leave no files. Raises ClipFailed when the artifact was not made.
        """
        artifact = self._artifact(asset)
        if artifact is None:
            raise ClipFailed(f"artifact '{asset}' was not made for this video; ask inputs.has('{asset}') first")
        return artifact if self.clip_id is None else artifact / self.clip_id
