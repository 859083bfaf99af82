"""What earlier stages said about a clip."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from egoworld_runner.clip_rows import clip_ids, rows_of_clip
from egoworld_runner.errors import ClipFailed
from egoworld_runner.remarks import REMARKS
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

    def of_clip(self, clip_id: str) -> Inputs:
        """The same artifacts, of which only this clip is shown: how a whole video is read in bounded memory."""
        return replace(self, clip_id=clip_id)

    def of_video(self) -> Inputs:
        """The same artifacts, of which all clips are shown: what clips of one camera have in common."""
        return replace(self, clip_id=None)

    def clips(self, asset: str) -> list[str]:
        """The ids of the clips that have rows in an artifact, in file order; none when it was not made."""
        path = self._file(asset, asset)
        return clip_ids(path) if path else []

    def _file(self, asset: str, table: str) -> Path | None:
        artifact = self._artifact(asset)
        path = artifact / f"{table}.parquet" if artifact else None
        if path and not path.is_file():
            raise ClipFailed(f"artifact '{asset}' has no {path.name}; make it again with the current code")
        return path

    def table(self, asset: str, table: str | None = None, columns: Sequence[str] | None = None) -> pa.Table:
        """Rows of ``<table>.parquet`` in an artifact (the table named like the asset by default), file order kept.

        columns: what is read of them, all by default.
        """
        path = self._file(asset, table or asset)
        if path is None:
            empty = empty_table(table or asset)
            return empty if columns is None else empty.select(list(columns))
        if self.clip_id is None:
            return pq.read_table(path, columns=None if columns is None else list(columns))
        return rows_of_clip(path, self.clip_id, columns)

    def rows(self, asset: str, table: str | None = None) -> list[dict[str, Any]]:
        """The same as plain dictionaries; vectors are flat lists, row-major."""
        return self.table(asset, table).to_pylist()

    def remarks(self, asset: str) -> dict[str, str]:
        """Why clips have no rows in an artifact, by clip_id; empty when it was not made or nothing was said."""
        artifact = self._artifact(asset)
        said = artifact / REMARKS if artifact else None
        found = json.loads(said.read_text(encoding="utf-8")) if said and said.is_file() else {}
        return {clip: str(why) for clip, why in found.items() if self.clip_id in (None, clip)}

    def annotation(self, kind: str) -> Any:
        """What a person said about the video (annotations.py), as JSON gives it; None when nobody said anything."""
        given = self.artifacts.get(kind)
        return json.loads((given / f"{kind}.json").read_text(encoding="utf-8")) if given else None

    def folder(self, asset: str) -> Path:
        """The files that an earlier stage left for this clip; for the whole video, the artifact itself.

        The folder need not exist: a stage may leave no files. Raises ClipFailed when the artifact was not made.
        """
        artifact = self._artifact(asset)
        if artifact is None:
            raise ClipFailed(f"artifact '{asset}' was not made for this video; ask inputs.has('{asset}') first")
        return artifact if self.clip_id is None else artifact / self.clip_id
