"""Write a LeRobot dataset with pyarrow alone: one data and one episodes file, tasks, info, statistics."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from egoworld_runner import lerobot
from egoworld_runner.lerobot import VIDEO_KEY, vector_stats, write_tasks

COMPONENTS_AT_ONCE = 8
ROWS_AT_ONCE = 1000
"""How much of the data file is held while its statistics are taken: 8 numbers a frame however many there are."""

Feature = dict[str, Any]
Stats = dict[str, Any]

INDEX_FEATURES: dict[str, Feature] = {
    "timestamp": {"dtype": "float32", "shape": [1], "names": None},
    "frame_index": {"dtype": "int64", "shape": [1], "names": None},
    "episode_index": {"dtype": "int64", "shape": [1], "names": None},
    "index": {"dtype": "int64", "shape": [1], "names": None},
    "task_index": {"dtype": "int64", "shape": [1], "names": None},
}


def vector(names: Sequence[str]) -> Feature:
    """The declaration of a float32 vector feature."""
    return {"dtype": "float32", "shape": [len(names)], "names": list(names)}


def video(fps: int, width: int, height: int) -> Feature:
    """The declaration of the H.264 video feature; sizes in px."""
    facts = {
        "video.height": height,
        "video.width": width,
        "video.codec": "h264",
        "video.pix_fmt": "yuv420p",
        "video.is_depth_map": False,
        "video.fps": fps,
        "video.channels": 3,
        "has_audio": False,
    }
    return {"dtype": "video", "shape": [height, width, 3], "names": ["height", "width", "channels"], "info": facts}


def arrow_type(feature: Feature) -> pa.DataType:
    """The Parquet column type of a feature: a scalar for shape [1], else a list of fixed size."""
    value = pa.float32() if feature["dtype"] == "float32" else pa.int64()
    size = feature["shape"][0]
    return value if size == 1 else pa.list_(value, size)


class DatasetFiles:
    """Collects the episodes of one video and writes every file but the mp4 below a folder.

    features: declarations of all features in column order, the video included.
    """

    def __init__(self, folder: Path, features: Mapping[str, Feature], fps: int, robot_type: str, task: str) -> None:
        self._folder, self._fps, self._robot_type, self._task = folder, fps, robot_type, task
        self.features = {**features, **INDEX_FEATURES}
        columns = {name: f for name, f in self.features.items() if f["dtype"] != "video"}
        self._schema = pa.schema([pa.field(name, arrow_type(f)) for name, f in columns.items()])
        self._file = folder / lerobot.data_file()
        self._file.parent.mkdir(parents=True)
        self._data = pq.ParquetWriter(self._file, self._schema, compression="snappy")
        self._episodes: list[dict[str, Any]] = []
        self.frames = 0

    @property
    def episodes(self) -> int:
        return len(self._episodes)

    def add(self, values: Mapping[str, NDArray[Any]], image_stats: Stats, facts: Mapping[str, Any]) -> None:
        """One episode: values [n, size] by feature, statistics of its pictures, further columns of its metadata."""
        count = len(next(iter(values.values())))
        number, first = len(self._episodes), self.frames
        index = {
            "timestamp": np.arange(count, dtype=np.float64) / self._fps,
            "frame_index": np.arange(count),
            "episode_index": np.full(count, number),
            "index": np.arange(first, first + count),
            "task_index": np.zeros(count, dtype=np.int64),
        }
        all_values = {**values, **index}
        arrays = [_column(all_values[field.name], field.type) for field in self._schema]
        self._data.write_table(pa.Table.from_arrays(arrays, schema=self._schema))
        stats = {VIDEO_KEY: image_stats, **{name: vector_stats(all_values[name]) for name in self._schema.names}}
        self._episodes.append(
            {
                "episode_index": number,
                "tasks": [self._task],
                "length": count,
                "data/chunk_index": 0,
                "data/file_index": 0,
                "dataset_from_index": first,
                "dataset_to_index": first + count,
                f"videos/{VIDEO_KEY}/chunk_index": 0,
                f"videos/{VIDEO_KEY}/file_index": 0,
                f"videos/{VIDEO_KEY}/from_timestamp": first / self._fps,
                f"videos/{VIDEO_KEY}/to_timestamp": (first + count) / self._fps,
                "meta/episodes/chunk_index": 0,
                "meta/episodes/file_index": 0,
                **facts,
                **{f"stats/{name}/{kind}": value for name, kinds in stats.items() for kind, value in kinds.items()},
            }
        )
        self.frames += count

    def close(self, image_stats: Stats) -> None:
        """Finish the data file and write the metadata. image_stats: of the pictures of all episodes."""
        self._data.close()
        episodes = self._folder / lerobot.episodes_file()
        episodes.parent.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(self._episodes), episodes, compression="snappy")
        write_tasks(self._folder / lerobot.TASKS, [self._task])
        info = {
            "codebase_version": lerobot.VERSION,
            "robot_type": self._robot_type,
            "total_episodes": len(self._episodes),
            "total_frames": self.frames,
            "total_tasks": 1,
            "chunks_size": lerobot.CHUNKS_SIZE,
            "data_files_size_in_mb": 100,
            "video_files_size_in_mb": 200,
            "fps": self._fps,
            "splits": {"train": f"0:{len(self._episodes)}"},
            "data_path": lerobot.DATA,
            "video_path": lerobot.VIDEO,
            "features": self.features,
        }
        for name, value in ((lerobot.INFO, info), (lerobot.STATS, {VIDEO_KEY: image_stats, **self._stats_of_all()})):
            text = json.dumps(value, indent=4, ensure_ascii=False) + "\n"
            (self._folder / name).write_text(text, encoding="utf-8")

    def _stats_of_all(self) -> dict[str, Stats]:
        """Statistics over all episodes, a few components of one column of the written file at a time."""
        return {field.name: self._stats_of(field) for field in self._schema}

    def _stats_of(self, field: pa.Field) -> Stats:
        size = field.type.list_size if pa.types.is_fixed_size_list(field.type) else 1
        parts = np.array_split(np.arange(size), -(-size // COMPONENTS_AT_ONCE))
        stats = [vector_stats(self._components(field.name, slice(part[0], part[-1] + 1))) for part in parts]
        joined = {name: list(chain.from_iterable(one[name] for one in stats)) for name in stats[0]}
        return {**joined, "count": stats[0]["count"]}

    def _components(self, name: str, some: slice) -> NDArray[np.float64]:
        """Some components of a written column, [frames, n]."""
        values = np.empty((self.frames, some.stop - some.start))
        at = 0
        with pq.ParquetFile(self._file) as file:
            for batch in file.iter_batches(ROWS_AT_ONCE, columns=[name], use_threads=False):
                column = batch.column(0)
                flat = column.flatten() if pa.types.is_fixed_size_list(column.type) else column
                values[at : at + len(batch)] = flat.to_numpy().reshape(len(batch), -1)[:, some]
                at += len(batch)
        return values


def _column(values: NDArray[Any], kind: pa.DataType) -> pa.Array:
    if not pa.types.is_fixed_size_list(kind):
        return pa.array(values.reshape(-1), type=kind)
    flat = pa.array(np.ascontiguousarray(values, dtype=np.float32).reshape(-1), type=kind.value_type)
    return pa.FixedSizeListArray.from_arrays(flat, type=kind)
