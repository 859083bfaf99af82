"""One video's episodes, opened: a small LeRobot v3.0 dataset."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from egoworld_resources.dataset.episodes import EpisodeArtifact
from egoworld_resources.errors import Terminal
from egoworld_runner import lerobot
from egoworld_runner.errors import BadVideo
from egoworld_runner.video import opened


class BadSource(Terminal):
    """A video's episodes cannot be part of the dataset; the message explains why."""


class Source:
    """A video's dataset, opened: raises BadSource when a file is missing, unreadable or inconsistent."""

    def __init__(self, artifact: EpisodeArtifact) -> None:
        self.artifact = artifact
        self.data = artifact.folder / lerobot.data_file()
        self.video = artifact.folder / lerobot.video_file()
        self.episode_file = artifact.folder / lerobot.episodes_file()
        info, of_all, tasks = (artifact.folder / name for name in (lerobot.INFO, lerobot.STATS, lerobot.TASKS))
        if not info.is_file():
            raise BadSource(f"it has no episode (no {lerobot.INFO})")
        for file in (self.data, self.video, self.episode_file, of_all, tasks):
            if not file.is_file():
                raise BadSource(f"{file.relative_to(artifact.folder)} is missing; make its episodes again")
        try:
            self.info: dict[str, Any] = json.loads(info.read_text(encoding="utf-8"))
            self.stats: dict[str, Any] = json.loads(of_all.read_text(encoding="utf-8"))
            schema = set(pq.read_schema(self.data).names)
            rows = pq.read_metadata(self.data).num_rows
            pictures = _pictures(self.video)
            listed = pq.read_table(self.episode_file, columns=["length"])["length"].to_pylist()
        except (OSError, ValueError, BadVideo) as error:
            raise BadSource(f"its files cannot be read ({error}); make its episodes again") from error
        version = self.info.get("codebase_version")
        if version != lerobot.VERSION:
            raise BadSource(f"its format is {version}, not {lerobot.VERSION}; make its episodes again")
        numbers = {name for name, feature in self.info["features"].items() if feature["dtype"] != "video"}
        if numbers != schema or set(self.info["features"]) != set(self.stats):
            odd = sorted(numbers ^ schema) or sorted(set(self.info["features"]) ^ set(self.stats))
            raise BadSource(f"info.json, stats.json and the data differ in {', '.join(odd)}; make its episodes again")
        if not (pictures == rows == sum(listed) == self.frames and len(listed) == self.episodes):
            raise BadSource(
                f"its files disagree: {pictures} pictures, {rows} rows of data, {sum(listed)} frames in {len(listed)} "
                f"episodes, info.json has {self.frames} in {self.episodes}; make its episodes again"
            )

    @property
    def frames(self) -> int:
        return int(self.info["total_frames"])

    @property
    def episodes(self) -> int:
        return int(self.info["total_episodes"])

    @cached_property
    def tasks(self) -> list[str]:
        """Task texts in the order of their task_index."""
        table = pq.read_table(self.artifact.folder / lerobot.TASKS)
        column = next(name for name in table.column_names if name != "task_index")
        pairs = zip(table["task_index"].to_pylist(), table[column].to_pylist(), strict=True)
        return [text for _, text in sorted(pairs)]

    def differs(self, first: Source) -> str:
        """Why this dataset cannot be merged with ``first``; empty if it can."""
        for key in ("fps", "robot_type"):
            if self.info[key] != first.info[key]:
                return f"{key} is {self.info[key]!r}, the dataset's is {first.info[key]!r}"
        mine, theirs = _shapes(self.info), _shapes(first.info)
        for name in sorted({*mine, *theirs}):
            if mine.get(name) != theirs.get(name):
                return f"feature {name} is {mine.get(name, 'absent')}, the dataset's is {theirs.get(name, 'absent')}"
        return ""


def _pictures(path: Path) -> int:
    """The number of frames that an mp4 declares for the stream that the contract reads."""
    with opened(path) as (_, stream):
        return stream.frames


def _shapes(info: Mapping[str, Any]) -> dict[str, str]:
    described: dict[str, str] = {}
    for name, feature in info["features"].items():
        names: list[str] = feature.get("names") or []
        text = f"{feature['dtype']}{feature['shape']}"
        described[name] = f"{text} of {', '.join(names[:4])}{' ...' if len(names) > 4 else ''}" if names else text
        described[name] += "" if len(names) <= 4 else f" ({hash_of(names)})"
    return described


def hash_of(names: Sequence[str]) -> str:
    """Eight hex digits that identify a list of names."""
    return hashlib.sha256("\n".join(names).encode("utf-8")).hexdigest()[:8]
