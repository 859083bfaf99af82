"""Give one video's episodes their place in the merged dataset: only index columns change."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from egoworld_runner.lerobot import VIDEO_KEY, vector_stats

INDEX_COLUMNS = ("episode_index", "index", "task_index")


@dataclass(frozen=True)
class Place:
    """Where a video's episodes are: folder and number of its files, first episode and frame, new task indices."""

    chunk: int
    file: int
    first_episode: int
    first_frame: int
    task_at: tuple[int, ...]

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "task_at": list(self.task_at)}


def rewrite_data(source: Path, target: Path, place: Place) -> None:
    """Copy the frame table with new episode, frame and task numbers; row groups stay as they are."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetFile(source) as file, pq.ParquetWriter(target, file.schema_arrow, compression="snappy") as writer:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            task = np.asarray(place.task_at, dtype=np.int64)[table["task_index"].to_numpy()]
            table = _replace(table, "task_index", task)
            table = _replace(table, "episode_index", table["episode_index"].to_numpy() + place.first_episode)
            writer.write_table(_replace(table, "index", table["index"].to_numpy() + place.first_frame))


def rewrite_episodes(source: Path, target: Path, data: Path, place: Place) -> None:
    """Copy the episode table with new numbers, file names and statistics of the index columns.

    data: the frame table that ``rewrite_data`` wrote.
    """
    table = pq.read_table(source)
    count = len(table)
    starts = table["dataset_from_index"].to_numpy() + place.first_frame
    ends = table["dataset_to_index"].to_numpy() + place.first_frame
    changed: dict[str, Any] = {
        "episode_index": table["episode_index"].to_numpy() + place.first_episode,
        "dataset_from_index": starts,
        "dataset_to_index": ends,
    }
    for prefix in ("data", f"videos/{VIDEO_KEY}", "meta/episodes"):
        changed[f"{prefix}/chunk_index"] = np.full(count, place.chunk, dtype=np.int64)
        changed[f"{prefix}/file_index"] = np.full(count, place.file, dtype=np.int64)
    frames = pq.read_table(data, columns=list(INDEX_COLUMNS))
    for name in INDEX_COLUMNS:
        values = frames[name].to_numpy()
        found = [
            vector_stats(values[start - place.first_frame : end - place.first_frame])
            for start, end in zip(starts, ends, strict=True)
        ]
        changed |= {f"stats/{name}/{kind}": [one[kind] for one in found] for kind in found[0]}
    for name, values in changed.items():
        table = _replace(table, name, values)
    target.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, target, compression="snappy")


def _replace(table: pa.Table, name: str, values: Any) -> pa.Table:
    at = table.schema.get_field_index(name)
    return table.set_column(at, table.schema.field(at), pa.array(values, type=table.schema.field(at).type))
