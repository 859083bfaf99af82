"""The job file: which model, which videos, which spans, where to write. Paths only, so it can be run by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from egoworld_runner.errors import BadJob

CONTRACT = 1
"""Version of the job format and of the command line."""

WHOLE = "whole"
"""Name of the output folder of a clip that is the whole video."""

REPORT = "clip.json"
"""The report of one clip; its presence means that the clip is finished, done or failed."""

T = TypeVar("T")


@dataclass(frozen=True)
class Span:
    """Frames [start_frame, end_frame) of a video."""

    start_frame: int
    end_frame: int


@dataclass(frozen=True)
class VideoJob:
    """One video of a job.

    frames: the index that the videos stage wrote (made again when None); inputs: asset name to artifact folder,
    None for an optional one that does not exist; output: folder that gets one folder per clip; clips: spans, or
    None for the whole video as one clip; name: what people call the file, for reasons (default: that of path).
    """

    video: str
    path: str
    output: str
    frames: str | None = None
    inputs: Mapping[str, str | None] = field(default_factory=dict[str, "str | None"])
    clips: tuple[Span, ...] | None = None
    name: str = ""


@dataclass(frozen=True)
class Job:
    """Many clips of many videos for one model. folder + entry ("module:Class") name the runner."""

    stage: str
    folder: str
    entry: str
    videos: tuple[VideoJob, ...]
    device: str = "cpu"
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    weights: Mapping[str, str] = field(default_factory=dict[str, str])
    contract: int = CONTRACT

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Job:
        """Parse a job file; raises BadJob naming the field that is wrong."""
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BadJob(f"{path}: not a readable job file: {error}") from error
        if not isinstance(raw, dict) or raw.get("contract") != CONTRACT:
            raise BadJob(f"{path}: contract must be {CONTRACT}; write the job with the egoworld that runs it")
        videos = raw.get("videos")
        if not isinstance(videos, list):
            raise BadJob(f"{path}: videos must be a list")
        return _build(
            cls, {**raw, "videos": tuple(_video(v, f"{path}: videos[{i}]") for i, v in enumerate(videos))}, str(path)
        )


def _video(raw: Any, where: str) -> VideoJob:
    if not isinstance(raw, dict):
        raise BadJob(f"{where} must be an object")
    spans = raw.get("clips")
    if spans is not None:
        if not isinstance(spans, list):
            raise BadJob(f"{where}.clips must be a list of spans, or null for the whole video")
        spans = tuple(_span(span, f"{where}.clips[{i}]") for i, span in enumerate(spans))
    return _build(VideoJob, {**raw, "clips": spans}, where)


def _span(raw: Any, where: str) -> Span:
    fields: dict[str, Any] = raw if isinstance(raw, dict) else {}
    if not all(isinstance(value, int) for value in fields.values()):
        raise BadJob(f"{where}: start_frame and end_frame must be whole numbers")
    span = _build(Span, fields, where)
    if not 0 <= span.start_frame < span.end_frame:
        raise BadJob(f"{where}: needs 0 <= start_frame < end_frame, got [{span.start_frame}, {span.end_frame})")
    return span


def _build(kind: type[T], raw: Mapping[str, Any], where: str) -> T:
    try:
        return kind(**raw)
    except TypeError as error:
        raise BadJob(f"{where}: {error}") from error
