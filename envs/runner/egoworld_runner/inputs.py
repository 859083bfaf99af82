"""What earlier stages said about a clip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from egoworld_runner.errors import ClipFailed


@dataclass(frozen=True)
class Inputs:
    """The artifacts that a stage reads, by asset name; only rows and files of one clip are shown.

    ``clip_id`` is None when the clip is the whole video: then all rows are shown.
    """

    artifacts: Mapping[str, Path]
    clip_id: str | None

    def _artifact(self, asset: str) -> Path:
        if asset not in self.artifacts:
            given = ", ".join(sorted(self.artifacts)) or "none"
            raise ClipFailed(f"this stage was given no artifact '{asset}' (given: {given}); add it to the job's inputs")
        return self.artifacts[asset]

    def table(self, asset: str, table: str | None = None) -> pa.Table:
        """Rows of ``<table>.parquet`` in an artifact (the table named like the asset by default), file order kept."""
        path = self._artifact(asset) / f"{table or asset}.parquet"
        if not path.is_file():
            raise ClipFailed(f"artifact '{asset}' has no {path.name}; make it again with the current code")
        keep = None if self.clip_id is None else [("clip_id", "=", self.clip_id)]
        return pq.read_table(path, filters=keep)

    def rows(self, asset: str, table: str | None = None) -> list[dict[str, Any]]:
        """The same as plain dictionaries; vectors are flat lists, row-major."""
        return self.table(asset, table).to_pylist()

    def folder(self, asset: str) -> Path:
        """The files that an earlier stage left for this clip; for the whole video, the artifact itself."""
        artifact = self._artifact(asset)
        return artifact if self.clip_id is None else artifact / self.clip_id
