"""The Rerun recording: video, outlines, keypoints, tracks, camera, points, object poses and joints on two timelines."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import cv2
import numpy as np
import rerun as rr
import rerun.blueprint as rrb
from content import Content, Span
from encode import Packets
from numpy.typing import NDArray
from palette import AXIS_COLOURS, CONNECTIONS, SIDES, colour_of

from egoworld_runner.clip_ids import CLIP_NAMESPACE
from egoworld_runner.pixels import to_corner

BATCH = 128
"""Frames that are written together: the memory needed does not grow with the video."""

APPLICATION = "egoworld"


def recording_id(video: str) -> str:
    """The same for every recording of a video."""
    return str(uuid.uuid5(CLIP_NAMESPACE, f"{video}\nrecording"))


class Recording:
    """Writes recording.rrd frame by frame.

    Coordinates of the pictures are px of the video as displayed, times are ``frame`` (decode index) and ``time_s``.
    Its contents are the same for the same inputs, its bytes are not: the SDK gives rows random ids, and its encoder
    orders metadata by a hash that every process seeds differently.
    """

    def __init__(self, content: Content, path: Path, width: int) -> None:
        self._content, self._path = content, path
        clip = content.clip
        scale = min(1.0, width / clip.width)
        self.width, self.height = (max(2, 2 * round(size * scale / 2)) for size in (clip.width, clip.height))
        self._scale = np.array([self.width / clip.width, self.height / clip.height])
        self._packets = Packets(self.width, self.height, clip.fps or 30.0, crf=27)
        self._pending: list[tuple[int, float, bytes, bool]] = []
        self._outlined: list[list[tuple[NDArray[np.float32], int]]] = []
        self._stream = rr.RecordingStream(APPLICATION, recording_id=recording_id(clip.video), send_properties=False)
        rr.set_log_time_enabled(False, recording=self._stream)
        rr.set_log_tick_enabled(False, recording=self._stream)

    def __enter__(self) -> Self:
        self._stream.save(self._path, default_blueprint=self._blueprint())
        self._static()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._flush()
        finally:
            self._stream.flush()
            self._stream.disconnect()

    def add(self, rgb: NDArray[np.uint8], frame: int, time_s: float) -> None:
        """One frame: its picture, and all that was found in it."""
        small = cv2.resize(rgb, (self.width, self.height), interpolation=cv2.INTER_AREA)
        packet, key = self._packets.encode(small)
        self._pending.append((frame, time_s, packet, key))
        self._outlined.append(list(self._outlines(frame)))
        if len(self._pending) == BATCH:
            self._flush()

    def add_clip(self, span: Span, last: int) -> None:
        """What belongs to a whole clip up to ``last``: camera path, points, joints. Every clip has its own world."""
        root = f"clips/{span.number:02d}"
        self._camera(span, f"{root}/world", last)
        for side in SIDES:
            frames, positions, names = self._content.joints(span, side)
            kept = frames <= last
            if not kept.any():
                continue
            entity = f"{root}/robot/{side}"
            series = rr.SeriesLines(names=[f"{side} {name}" for name in names])
            self._stream.log(entity, series, static=True)
            values = positions[kept].astype(np.float64)
            columns = rr.Scalars.columns(scalars=values.reshape(-1)).partition([len(names)] * len(values))
            self._stream.send_columns(entity, self._times(frames[kept]), columns)

    def _static(self) -> None:
        points = [rr.AnnotationInfo(id=point, label=str(point)) for point in range(21)]
        known = {**{obj: f"{side} hand" for side, obj in SIDES.items()}, 0: "background", **self._content.labels}
        classes = [
            rr.ClassDescription(
                info=rr.AnnotationInfo(id=obj, label=name, color=colour_of(obj)),
                keypoint_annotations=points if obj in SIDES.values() else [],
                keypoint_connections=list(CONNECTIONS) if obj in SIDES.values() else [],
            )
            for obj, name in sorted(known.items())
        ]
        self._stream.log("video", rr.AnnotationContext(classes), static=True)
        self._stream.log("video/frames", rr.VideoStream(codec=rr.VideoCodec.H264), static=True)
        for side, obj in SIDES.items():
            fixed = rr.Points2D.from_fields(
                class_ids=[obj], keypoint_ids=list(range(21)), radii=[2.5], show_labels=False
            )
            self._stream.log(f"video/hands/{side}", fixed, static=True)

    def _times(self, frames: Sequence[int] | NDArray[np.int64]) -> list[rr.TimeColumn]:
        seconds = self._content.clip.index.time_s[np.asarray(frames, dtype=np.int64)]
        return [rr.TimeColumn("frame", sequence=frames), rr.TimeColumn("time_s", duration=seconds)]

    def _flush(self) -> None:
        if not self._pending:
            return
        frames = [frame for frame, *_ in self._pending]
        times = self._times(frames)
        packets = rr.VideoStream.columns(
            sample=[packet for *_, packet, _ in self._pending], is_keyframe=[key for *_, key in self._pending]
        )
        self._stream.send_columns("video/frames", times, packets)
        self._masks(times)
        self._hands(frames, times)
        self._tracks(frames, times)
        self._boxes(frames, times)
        self._pending.clear()
        self._outlined.clear()

    def _masks(self, times: list[rr.TimeColumn]) -> None:
        found = self._outlined
        if any(found):
            strips, ids = [s for one in found for s, _ in one], [obj for one in found for _, obj in one]
            columns = rr.LineStrips2D.columns(strips=strips, class_ids=ids, radii=[1.0] * len(ids))
            self._stream.send_columns("video/masks", times, columns.partition([len(one) for one in found]))

    def _outlines(self, frame: int) -> Iterator[tuple[NDArray[np.float32], int]]:
        """Closed outlines of every mask in recording px."""
        for found in self._content.masked(frame):
            x, y, width, height = found.box
            if not width:
                continue
            around = np.ascontiguousarray(found.pixels[y : y + height, x : x + width])
            outlines, _ = cv2.findContours(around, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE, offset=(x, y))
            for outline in outlines:
                points = outline.reshape(-1, 2)
                yield self._shown(np.concatenate([points, points[:1]])).astype(np.float32), found.obj_id

    def _shown(self, points: NDArray[Any]) -> NDArray[np.float64]:
        """Points [n, 2] px of the video in recording px, which Rerun counts from the picture's corner."""
        return to_corner(points.astype(np.float64)) * self._scale

    def _hands(self, frames: list[int], times: list[rr.TimeColumn]) -> None:
        rows = [self._content.hands.rows(frame) for frame in frames]
        for side in SIDES:
            points = [next((row["keypoints_2d"] for row in one if row["side"] == side), None) for one in rows]
            flat = np.array(list(chain.from_iterable(one for one in points if one)), dtype=np.float32).reshape(-1, 2)
            columns = rr.Points2D.columns(positions=self._shown(flat))
            self._stream.send_columns(
                f"video/hands/{side}", times, columns.partition([21 if one else 0 for one in points])
            )

    def _tracks(self, frames: list[int], times: list[rr.TimeColumn]) -> None:
        tables = [self._content.tracks.between(frame, frame) for frame in frames]
        tables = [table.filter(table["visible"]) for table in tables]
        if any(len(table) for table in tables):
            xy = [np.stack([table["x"].to_numpy(), table["y"].to_numpy()], axis=1) for table in tables]
            ids = np.concatenate([table["obj_id"].to_numpy() for table in tables])
            points = self._shown(np.concatenate(xy))
            columns = rr.Points2D.columns(positions=points, class_ids=ids, radii=np.full(len(ids), 1.2))
            self._stream.send_columns("video/tracks", times, columns.partition([len(table) for table in tables]))

    def _boxes(self, frames: list[int], times: list[rr.TimeColumn]) -> None:
        rows = [self._content.detections.rows(frame) for frame in frames]
        flat = list(chain.from_iterable(rows))
        if flat:
            corners = np.array([[[row["x0"], row["y0"]], [row["x1"], row["y1"]]] for row in flat]) * self._scale
            columns = rr.Boxes2D.columns(
                centers=corners.mean(axis=1),
                half_sizes=(corners[:, 1] - corners[:, 0]) / 2,
                labels=[f"{row['label']} {row['score']:.2f}" for row in flat],
            )
            self._stream.send_columns("video/detections", times, columns.partition([len(one) for one in rows]))

    def _camera(self, span: Span, world: str, last: int) -> None:
        self._stream.log(world, rr.ViewCoordinates.RDF, static=True)
        frames, poses = self._content.camera_path(span)
        cloud = self._content.points(span)
        if cloud:
            self._stream.log(
                f"{world}/points", rr.Points3D(cloud[0], colors=cloud[1], radii=rr.Radius.ui_points(1.5)), static=True
            )
        kept = frames <= last
        if not kept.any():
            return
        path = poses[:, :3, 3]
        reach = max(float(np.ptp(path, axis=0).max()), 1e-3)
        self._stream.log(f"{world}/trajectory", rr.LineStrips3D([path], colors=[(250, 200, 90)]), static=True)
        matrices = np.ascontiguousarray(poses[kept, :3, :3])
        columns = rr.Transform3D.columns(translation=path[kept], mat3x3=matrices)
        self._stream.send_columns(f"{world}/camera", self._times(frames[kept]), columns)
        seen = self._content.cameras.rows(int(frames[0]))[0]["intrinsics"]
        fx, fy, cx, cy = seen or self._content.unknown_lens
        lens = rr.Pinhole(
            focal_length=[fx, fy],
            principal_point=to_corner(np.array([cx, cy])),
            resolution=[self._content.clip.width, self._content.clip.height],
            camera_xyz=rr.ViewCoordinates.RDF,
            image_plane_distance=reach * 0.15,
        )
        self._stream.log(f"{world}/camera/lens", lens, static=True)
        self._objects(span, f"{world}/camera/objects", last)

    def _objects(self, span: Span, entity: str, last: int) -> None:
        """Each object's axes in camera axes, an eighth of its distance long; none where no pose is known."""
        every = list(range(span.start, last + 1))
        rows = [self._content.objects.rows(frame) for frame in every]
        poses = np.array([row["T_camera_object"] for row in chain.from_iterable(rows)]).reshape(-1, 4, 4)
        if len(poses) == 0:
            return
        axes = np.swapaxes(poses[:, :3, :3], 1, 2) * poses[:, 2, 3, None, None] / 8
        columns = rr.Arrows3D.columns(
            origins=np.repeat(poses[:, :3, 3], 3, axis=0),
            vectors=axes.reshape(-1, 3),
            colors=np.tile(np.array(AXIS_COLOURS, dtype=np.uint8), (len(poses), 1)),
        )
        self._stream.send_columns(entity, self._times(every), columns.partition([3 * len(one) for one in rows]))

    def _blueprint(self) -> rrb.Blueprint:
        """The video with what was found in it; beside it each clip's world; joints below."""
        spans = self._content.spans[:24]
        worlds = [
            rrb.Spatial3DView(origin=f"clips/{span.number:02d}/world", name=f"clip {span.number}: camera and points")
            for span in spans
        ]
        joints = [
            rrb.TimeSeriesView(origin=f"clips/{span.number:02d}/robot", name=f"clip {span.number}: joints (rad)")
            for span in spans
        ]
        return rrb.Blueprint(
            rrb.Vertical(
                rrb.Horizontal(
                    rrb.Spatial2DView(origin="video", name="video"), rrb.Tabs(*worlds), column_shares=[3, 2]
                ),
                rrb.Tabs(*joints),
                row_shares=[3, 1],
            ),
            rrb.TimePanel(timeline="time_s", state="collapsed"),
            rrb.BlueprintPanel(state="collapsed"),
            rrb.SelectionPanel(state="collapsed"),
            auto_views=False,
        )
