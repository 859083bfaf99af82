"""Rows of a table clip by clip: what belongs to other clips is not read, so a long video needs no more memory.

An artifact's clips lie in row groups of their own, and Parquet keeps the least and the greatest clip_id of each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

CLIP_ID = "clip_id"


def clip_ids(path: Path) -> list[str]:
    """The ids of all clips that have rows, in file order."""
    with pq.ParquetFile(path, read_dictionary=[CLIP_ID]) as file:
        batches = file.iter_batches(columns=[CLIP_ID], use_threads=False)
        return list(dict.fromkeys(clip for batch in batches for clip in batch.column(0).unique().to_pylist()))


def rows_of_clip(path: Path, clip_id: str, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of one clip, file order kept; of these columns only when any are named."""
    with pq.ParquetFile(path) as file:
        bounds = {number: _bounds(file.metadata, number) for number in range(file.num_row_groups)}
        groups = [number for number, known in bounds.items() if known is None or known[0] <= clip_id <= known[1]]
        alone = all(bounds[number] == (clip_id, clip_id) for number in groups)
        named = None if columns is None else list(dict.fromkeys(columns if alone else (CLIP_ID, *columns)))
        table = file.read_row_groups(groups, columns=named, use_threads=False)
    if alone:
        return table
    kept = table.filter(pc.call_function("equal", [table[CLIP_ID], pa.scalar(clip_id)]))
    return kept if columns is None else kept.select(list(columns))


def by_clip(path: Path, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The rows of one clip after the other, in the order in which the clips begin in the file."""
    return (rows_of_clip(path, clip, columns) for clip in clip_ids(path))


def _bounds(metadata: pq.FileMetaData, group: int) -> tuple[str, str] | None:
    """The least and the greatest clip_id of a row group; None when the file does not say."""
    leaf = metadata.schema.names.index(CLIP_ID)
    known = metadata.row_group(group).column(leaf).statistics
    return (known.min, known.max) if known is not None and known.has_min_max else None
