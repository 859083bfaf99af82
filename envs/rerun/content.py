"""What earlier stages found in a video, looked up by frame without turning whole tables into Python objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from plyfile import PlyData, PlyParseError

from egoworld_runner import Clip, ClipFailed, Inputs, tables


class ByFrame:
    """One table in frame order. A stage that was not made, or found nothing, gives no rows."""

    def __init__(self, inputs: Inputs, row: type[tables.Row]) -> None:
        given = inputs.table(row.table) if row.table in inputs.artifacts else tables.schema(row).empty_table()
        self.table: pa.Table = given.take(pc.sort_indices(given, sort_keys=[("frame", "ascending")]))
        self._frames: NDArray[np.int64] = self.table["frame"].to_numpy()

    def between(self, first: int, last: int) -> pa.Table:
        """Rows of frames first to last, both included."""
        low = int(np.searchsorted(self._frames, first, side="left"))
        high = int(np.searchsorted(self._frames, last, side="right"))
        return self.table.slice(low, high - low)

    def rows(self, frame: int) -> list[dict[str, Any]]:
        return self.between(frame, frame).to_pylist()


class ByClip:
    """A large table by frame, of which one clip is held at a time."""

    def __init__(self, inputs: Inputs, row: type[tables.Row], spans: Sequence[Span]) -> None:
        self._inputs = inputs
        self._row = row
        self._spans = spans
        self._held: tuple[Span, ByFrame] | None = None

    def between(self, first: int, last: int) -> pa.Table:
        """Rows of frames first to last, both included, of the clip that has the last one."""
        if self._held is None or not self._held[0].start <= last < self._held[0].end:
            span = next((span for span in self._spans if span.start <= last < span.end), None)
            if span is None:
                return tables.schema(self._row).empty_table()
            self._held = span, ByFrame(replace(self._inputs, clip_id=span.clip_id), self._row)
        return self._held[1].between(first, last)


@dataclass(frozen=True)
class Span:
    """One clip as the previews show it. number counts from 1; frames [start, end)."""

    number: int
    clip_id: str
    start: int
    end: int
    start_s: float
    end_s: float
    shot: int

    def __len__(self) -> int:
        return self.end - self.start


class Content:
    """All that is known of a video: its clips and every table."""

    def __init__(self, clip: Clip, inputs: Inputs) -> None:
        self.clip = clip
        self.hands = ByFrame(inputs, tables.HandPose)
        self.detections = ByFrame(inputs, tables.Detection)
        self.masks = ByFrame(inputs, tables.Mask)
        self.cameras = ByFrame(inputs, tables.CameraPose)
        self.objects = ByFrame(inputs, tables.ObjectPose)
        self.robots = ByFrame(inputs, tables.RobotPose)
        rows = sorted(inputs.rows("clips"), key=lambda row: (row["start_frame"], row["end_frame"]))
        names = ("clip_id", "start_frame", "end_frame", "start_s", "end_s", "shot")
        self.spans = [Span(number, *(row[name] for name in names)) for number, row in enumerate(rows, start=1)]
        if not self.spans:
            raise ClipFailed("the video has no clip, so there is nothing to show; look at the clips of this video")
        self.tracks = ByClip(inputs, tables.TrackPoint, self.spans)
        made = inputs.has("reconstructions")
        self._reconstruction: Path | None = inputs.folder("reconstructions") if made else None

    @cached_property
    def labels(self) -> dict[int, str]:
        """The label of every obj_id that has a mask."""
        pairs = self.masks.table.select(["obj_id", "label"]).group_by(["obj_id", "label"]).aggregate([])
        found = zip(pairs["obj_id"].to_pylist(), pairs["label"].to_pylist(), strict=True)
        return dict(sorted(found, reverse=True))

    def points(self, span: Span) -> tuple[NDArray[np.float32], NDArray[np.uint8]] | None:
        """Positions [n, 3] and colours [n, 3] of a clip's reconstructed points; None when there are none."""
        file = self._reconstruction / span.clip_id / "points.ply" if self._reconstruction else None
        if file is None or not file.is_file():
            return None
        try:
            vertices = PlyData.read(str(file))["vertex"].data
        except (PlyParseError, KeyError, ValueError) as error:
            raise ClipFailed(
                f"{file.name} of clip {span.clip_id} cannot be read ({error}); reconstruct it again"
            ) from error
        xyz = np.stack([vertices[name] for name in "xyz"], axis=1).astype(np.float32)
        names = ("red", "green", "blue")
        if not set(names) <= set(vertices.dtype.names or ()):
            return xyz, np.full(xyz.shape, 160, np.uint8)
        return xyz, np.stack([vertices[name] for name in names], axis=1).astype(np.uint8)

    def camera_path(self, span: Span) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Registered frames [n] of a clip and their T_world_camera [n, 4, 4]."""
        rows = self.cameras.between(span.start, span.end - 1)
        rows = rows.filter(rows["registered"])
        poses = rows["T_world_camera"].combine_chunks().flatten().to_numpy().reshape(-1, 4, 4)
        return rows["frame"].to_numpy(), poses

    def joints(self, span: Span, side: str) -> tuple[NDArray[np.int64], NDArray[np.float32], list[str]]:
        """Frames [n], joint positions [n, joints] in rad and joint names of one robot hand in a clip."""
        rows = self.robots.between(span.start, span.end - 1)
        rows = rows.filter(pc.equal(rows["side"], side))
        if len(rows) == 0:
            return np.empty(0, np.int64), np.empty((0, 0), np.float32), []
        names = rows["joint_names"][0].as_py()
        positions = rows["positions"].combine_chunks().flatten().to_numpy().reshape(len(rows), len(names))
        return rows["frame"].to_numpy(), positions, names


def share_of_frames(table: pa.Table, frames: int) -> float:
    """The share of frames that have at least one row."""
    return len(table["frame"].unique()) / frames if frames else 0.0


def bounded(content: Content, seconds: float) -> list[tuple[Span, int]]:
    """Every clip with the frame before which it is cut: all when the clips fit into ``seconds`` (0: no bound).

    Of longer ones, each clip shows its beginning, in proportion to its length.
    """
    whole = sum(span.end_s - span.start_s for span in content.spans)
    if seconds <= 0 or whole <= seconds:
        return [(span, span.end) for span in content.spans]
    times = content.clip.index.time_s
    kept: list[tuple[Span, int]] = []
    for span in content.spans:
        until = span.start_s + (span.end_s - span.start_s) * seconds / whole
        stop = int(np.searchsorted(times[span.start : span.end], until, side="left")) + span.start
        kept.append((span, min(max(stop, span.start + 1), span.end)))
    return kept
