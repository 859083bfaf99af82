"""Typed writers: rows of one clip into Parquet, checked, in bounded memory."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from egoworld_runner.clip import Clip
from egoworld_runner.clip_ids import clip_id
from egoworld_runner.errors import BadRow
from egoworld_runner.tables import ClipSpan, Row, columns, plain, schema

BATCH_ROWS = 4096


class ClipWriter:
    """Writes the rows of one clip into ``<table>.parquet`` under a folder.

    Every row is checked (declared table, vector sizes, finite numbers, frame inside the clip) and gets the clip's id;
    a ClipSpan gets the id of the span that it names.
    """

    def __init__(self, clip: Clip, folder: Path, writes: tuple[type[Row], ...]) -> None:
        self._clip = clip
        self._pending: dict[type[Row], list[dict[str, Any]]] = {row: [] for row in writes}
        self._files = {row: pq.ParquetWriter(folder / f"{row.table}.parquet", schema(row)) for row in writes}
        self.counts = {row.table: 0 for row in writes}

    def write(self, row: Row) -> None:
        """Take one row; raises BadRow when it breaks its table."""
        kind = type(row)
        if kind not in self._pending:
            known = ", ".join(k.__name__ for k in self._pending) or "none"
            raise BadRow(f"the runner yielded a {kind.__name__}, but it declares writes = ({known})")
        values = {name: plain(getattr(row, name)) for name in columns(kind)}
        self._check(kind, values)
        self._pending[kind].append({"clip_id": self._id_of(row), **values})
        self.counts[kind.table] += 1
        if len(self._pending[kind]) >= BATCH_ROWS:
            self._flush(kind)

    def _id_of(self, row: Row) -> str:
        if isinstance(row, ClipSpan):
            return clip_id(self._clip.video, row.start_frame, row.end_frame)
        return self._clip.clip_id

    def _check(self, kind: type[Row], values: dict[str, Any]) -> None:
        frame = values.get("frame")
        if frame is not None and not isinstance(frame, int):
            raise BadRow(f"{kind.table}: frame must be a whole number, got {frame!r}")
        if frame is not None and not self._clip.start_frame <= frame < self._clip.end_frame:
            span = f"[{self._clip.start_frame}, {self._clip.end_frame})"
            raise BadRow(f"{kind.table}: frame {frame} lies outside the clip {span}")
        for name, column in columns(kind).items():
            value = values[name]
            if value is None:
                if not column.nullable:
                    raise BadRow(f"{kind.table}.{name} must have a value")
            elif isinstance(value, float):
                if not math.isfinite(value):
                    raise BadRow(f"{kind.table}.{name} is {value}; leave the row out instead")
            elif isinstance(value, list):
                self._check_vector(f"{kind.table}.{name}", column.arrow, value)

    @staticmethod
    def _check_vector(name: str, arrow: pa.DataType, value: list[Any]) -> None:
        size = arrow.list_size if pa.types.is_fixed_size_list(arrow) else len(value)
        if len(value) != size:
            raise BadRow(f"{name} needs {size} numbers, got {len(value)}")
        if pa.types.is_floating(arrow.value_type) and not np.isfinite(np.asarray(value, dtype=float)).all():
            raise BadRow(f"{name} holds a number that is not finite; leave the row out instead")

    def _flush(self, kind: type[Row]) -> None:
        rows, self._pending[kind] = self._pending[kind], []
        if rows:
            try:
                self._files[kind].write_table(pa.Table.from_pylist(rows, schema=schema(kind)))
            except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
                raise BadRow(f"{kind.table}: {error}") from error

    def close(self) -> None:
        """Write what is pending and finish the files."""
        try:
            for kind in self._pending:
                self._flush(kind)
        finally:
            for file in self._files.values():
                file.close()
