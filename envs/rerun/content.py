"""What earlier stages found in a video, looked up by frame without turning whole tables into Python objects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from plyfile import PlyData, PlyParseError
from pycocotools import mask as coco

from egoworld_runner import Clip, ClipFailed, Inputs, tables


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


class ByFrame:
    """One table by frame, of which one clip is held at a time: a long video needs no more memory than its longest clip.

    A stage that was not made, or found nothing, gives no rows.
    """

    def __init__(self, inputs: Inputs, row: type[tables.Row], spans: Sequence[Span]) -> None:
        self._inputs, self._row, self._spans = inputs, row, spans
        self._hold(None)

    def between(self, first: int, last: int) -> pa.Table:
        """Rows of frames first to last, both included, of the clip that has the last one, in frame order."""
        if self._held is None or not self._held.start <= last < self._held.end:
            self._hold(next((span for span in self._spans if span.start <= last < span.end), None))
        low = int(np.searchsorted(self._frames, first, side="left"))
        high = int(np.searchsorted(self._frames, last, side="right"))
        return self._table.slice(low, high - low)

    def _hold(self, span: Span | None) -> None:
        given = tables.schema(self._row).empty_table().drop_columns("clip_id")
        if span is not None and self._row.table in self._inputs.artifacts:
            given = self._inputs.of_clip(span.clip_id).table(self._row.table, columns=given.column_names)
        self._held = span
        self._table: pa.Table = given.take(pc.sort_indices(given, sort_keys=[("frame", "ascending")]))
        self._frames: NDArray[np.int64] = self._table["frame"].to_numpy()

    def rows(self, frame: int) -> list[dict[str, Any]]:
        return self.between(frame, frame).to_pylist()

    def by_clip(self) -> Iterator[pa.Table]:
        """The rows of one clip after the other."""
        return (self.between(span.start, span.end - 1) for span in self._spans)

    def frames_by(self, column: str) -> Counter[Any]:
        """In how many frames each value of a column is found."""
        found: Counter[Any] = Counter()
        for table in self.by_clip():
            counts = table.group_by(column).aggregate([("frame", "count_distinct")])
            found.update(
                dict(zip(*(counts[name].to_pylist() for name in (column, "frame_count_distinct")), strict=True))
            )
        return found


@dataclass(frozen=True)
class Masked:
    """One mask: its obj_id and label, its pixels [h, w] of 0 and 1 in Fortran order, and the box around those that are
    set: x, y, width, height.
    """

    obj_id: int
    label: str
    pixels: NDArray[np.uint8]
    box: tuple[int, int, int, int]

    @classmethod
    def of(cls, row: dict[str, Any]) -> Masked:
        """A row of the table."""
        rle = {"counts": row["rle"].encode("ascii"), "size": [row["height"], row["width"]]}
        x, y, width, height = (int(edge) for edge in coco.toBbox(rle))
        return cls(row["obj_id"], row["label"], coco.decode(rle), (x, y, width, height))


class Content:
    """All that is known of a video: its clips and every table."""

    def __init__(self, clip: Clip, inputs: Inputs) -> None:
        self.clip, self._inputs = clip, inputs
        rows = sorted(inputs.rows("clips"), key=lambda row: (row["start_frame"], row["end_frame"]))
        names = ("clip_id", "start_frame", "end_frame", "start_s", "end_s", "shot")
        self.spans = [Span(number, *(row[name] for name in names)) for number, row in enumerate(rows, start=1)]
        if not self.spans:
            raise ClipFailed("the video has no clip, so there is nothing to show; look at the clips of this video")
        self.hands = ByFrame(inputs, tables.HandPose, self.spans)
        self.detections = ByFrame(inputs, tables.Detection, self.spans)
        self.masks = ByFrame(inputs, tables.Mask, self.spans)
        self.tracks = ByFrame(inputs, tables.TrackPoint, self.spans)
        self.cameras = ByFrame(inputs, tables.CameraPose, self.spans)
        self.objects = ByFrame(inputs, tables.ObjectPose, self.spans)
        self.robots = ByFrame(inputs, tables.RobotPose, self.spans)
        self._masked: tuple[int, list[Masked]] = (-1, [])
        made = inputs.has("reconstructions")
        self._reconstruction: Path | None = inputs.folder("reconstructions") if made else None

    def masked(self, frame: int) -> list[Masked]:
        """The masks of a frame in the order of their obj_id; those of the last frame asked for are kept."""
        if self._masked[0] != frame:
            rows = sorted(self.masks.rows(frame), key=lambda row: row["obj_id"])
            self._masked = frame, [Masked.of(row) for row in rows]
        return self._masked[1]

    def missing(self, span: Span) -> str:
        """Which stages have nothing of a clip, and why, in their own words; empty when all have something."""
        said = self._missing.get(span.clip_id, {})
        return "  ·  ".join(f"{asset}: {why}" for asset, why in said.items())

    @cached_property
    def _missing(self) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = {}
        for asset in sorted(self._inputs.artifacts):
            for clip_id, why in self._inputs.remarks(asset).items():
                found.setdefault(clip_id, {})[asset] = why
        return found

    @cached_property
    def labels(self) -> dict[int, str]:
        """The label of every obj_id that has a mask."""
        found: set[tuple[int, str]] = set()
        for masks in self.masks.by_clip():
            pairs = masks.group_by(["obj_id", "label"]).aggregate([])
            found.update(zip(pairs["obj_id"].to_pylist(), pairs["label"].to_pylist(), strict=True))
        return dict(sorted(found, reverse=True))

    @cached_property
    def robot_names(self) -> list[str]:
        """The robots whose hands follow, in the order of their names."""
        return sorted({name for table in self.robots.by_clip() for name in table["robot"].unique().to_pylist()})

    @cached_property
    def tip_errors(self) -> NDArray[np.float64]:
        """How far robot fingertips are from where they should be, m, one per row."""
        return np.concatenate([table["tip_error"].to_numpy() for table in self.robots.by_clip()])

    @property
    def unknown_lens(self) -> tuple[float, float, float, float]:
        """fx, fy, cx, cy that a camera is drawn with whose lens is not known: a view of 53 degrees on the long side."""
        width, height = self.clip.width, self.clip.height
        return float(max(width, height)), float(max(width, height)), (width - 1) / 2, (height - 1) / 2

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

    def camera_kind(self, span: Span) -> str:
        """How a clip's camera moved, as the table says of its registered frames; empty when none is."""
        rows = self.cameras.between(span.start, span.end - 1)
        return next(iter(rows.filter(rows["registered"])["kind"].unique().to_pylist()), "")

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
