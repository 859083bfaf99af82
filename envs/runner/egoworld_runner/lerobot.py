"""The LeRobot dataset format v3.0, as far as episodes are written and merged: names of files, statistics, tasks.

Source of the format: https://huggingface.co/docs/lerobot/lerobot-dataset-v3. ``chunk_index`` and ``chunks_size`` are
the format's own words.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

VERSION = "v3.0"
VIDEO_KEY = "observation.images.ego"
DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
INFO = "meta/info.json"
STATS = "meta/stats.json"
TASKS = "meta/tasks.parquet"
CHUNKS_SIZE = 1000
"""Files of a folder."""
QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}


def data_file(chunk_index: int = 0, file_index: int = 0) -> str:
    """The frame table, below the dataset's folder."""
    return DATA.format(chunk_index=chunk_index, file_index=file_index)


def video_file(chunk_index: int = 0, file_index: int = 0) -> str:
    """The ego video, below the dataset's folder."""
    return VIDEO.format(video_key=VIDEO_KEY, chunk_index=chunk_index, file_index=file_index)


def episodes_file(chunk_index: int = 0, file_index: int = 0) -> str:
    """The table of episodes, below the dataset's folder."""
    return EPISODES.format(chunk_index=chunk_index, file_index=file_index)


def vector_stats(values: NDArray[Any]) -> dict[str, list[float]]:
    """min, max, mean, std, count and quantiles per component of values [n] or [n, size]."""
    wide = values.reshape(len(values), -1).astype(np.float64)
    found = {"min": wide.min(0), "max": wide.max(0), "mean": wide.mean(0), "std": wide.std(0)}
    found["count"] = np.array([len(wide)])
    found |= zip(QUANTILES, np.quantile(wide, list(QUANTILES.values()), axis=0), strict=True)
    return {name: value.tolist() for name, value in found.items()}


def write_tasks(path: Path, tasks: Sequence[str]) -> None:
    """The task table; its text column is the index of a pandas frame, which is how LeRobot reads it."""
    level = "__index_level_0__"
    described = [
        {
            "name": "task_index",
            "field_name": "task_index",
            "pandas_type": "int64",
            "numpy_type": "int64",
            "metadata": None,
        },
        {"name": None, "field_name": level, "pandas_type": "unicode", "numpy_type": "object", "metadata": None},
    ]
    pandas = {"index_columns": [level], "column_indexes": [], "columns": described, "pandas_version": "2.0.0"}
    table = pa.table({"task_index": pa.array(range(len(tasks)), pa.int64()), level: pa.array(tasks, pa.string())})
    pq.write_table(table.replace_schema_metadata({"pandas": json.dumps(pandas)}), path, compression="snappy")
