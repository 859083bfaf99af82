"""The artifact tables: one row class per table, one Arrow schema per row class.

Units are pixels (pixels.py says where they begin), metres, radians and seconds. ``T_a_b`` maps points of frame b into
frame a, as a row-major 4x4 matrix of 16 numbers; camera axes are OpenCV's (x right, y down, z forward). ``frame`` is
the decode index in the whole video. ``clip_id`` is not a field of a row: the contract writes it, so a row cannot land
under another clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, ClassVar, get_type_hints

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


@dataclass(frozen=True)
class Column:
    """How a field is stored: its Arrow type and whether it may be null."""

    arrow: pa.DataType
    nullable: bool = False


def _vector(size: int, nullable: bool = False) -> Column:
    return Column(pa.list_(pa.float32(), size), nullable)


Array = NDArray[Any] | Sequence[float] | Sequence[Sequence[float]]
Int = Annotated[int, Column(pa.int64())]
OptInt = Annotated[int | None, Column(pa.int64(), nullable=True)]
Real = Annotated[float, Column(pa.float64())]
OptReal = Annotated[float | None, Column(pa.float64(), nullable=True)]
Text = Annotated[str, Column(pa.string())]
OptText = Annotated[str | None, Column(pa.string(), nullable=True)]
Bool = Annotated[bool, Column(pa.bool_())]
Points2D = Annotated[Array, _vector(42)]
Points3D = Annotated[Array | None, _vector(63, nullable=True)]
Matrix = Annotated[Array, Column(pa.list_(pa.float64(), 16))]
OptMatrix = Annotated[Array | None, Column(pa.list_(pa.float64(), 16), nullable=True)]
OptIntrinsics = Annotated[Array | None, Column(pa.list_(pa.float64(), 4), nullable=True)]
Distortion = Annotated[Array, Column(pa.list_(pa.float64()))]
Vector3 = Annotated[Array | None, _vector(3, nullable=True)]
Vector10 = Annotated[Array | None, _vector(10, nullable=True)]
Vector45 = Annotated[Array | None, _vector(45, nullable=True)]
Names = Annotated[Sequence[str], Column(pa.list_(pa.string()))]
Reals = Annotated[Array, Column(pa.list_(pa.float32()))]


@dataclass(frozen=True)
class Row:
    """Base of all rows; a subclass sets ``table`` and annotates its fields with columns."""

    table: ClassVar[str]


@cache
def columns(row: type[Row]) -> dict[str, Column]:
    """The columns of a row class in declaration order, without clip_id."""
    hints = get_type_hints(row, include_extras=True)
    return {name: hint.__metadata__[0] for name, hint in hints.items() if hasattr(hint, "__metadata__")}


@cache
def schema(row: type[Row]) -> pa.Schema:
    """The Arrow schema of a row class; clip_id comes first."""
    fields = [pa.field(name, column.arrow, nullable=column.nullable) for name, column in columns(row).items()]
    return pa.schema([pa.field("clip_id", pa.string(), nullable=False), *fields])


def plain(value: Any) -> Any:
    """A field value as Arrow takes it: arrays flattened row-major into lists, numpy scalars unwrapped."""
    if isinstance(value, np.ndarray):
        return value.reshape(-1).tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (list, tuple)) and value and not isinstance(value[0], str):
        return np.asarray(value).reshape(-1).tolist()
    return value


@dataclass(frozen=True)
class Video(Row):
    """What a video file is: one row per video. Width and height are as displayed (turned, pixels square).

    fps: mean while the camera filmed, gaps left out. corrupt_packets gave no picture; damaged_frames are not as they
    were filmed. timing: times are the file's "stamps", a "rate" that it declares, or one that is "assumed". camera: its
    maker and model as the file names them, empty when it does not; focal_35mm: the lens's, on 43.3 mm of diagonal, mm.
    """

    table = "videos"
    sha256: Text
    bytes: Int
    container: Text
    codec: Text
    pix_fmt: Text
    width: Int
    height: Int
    rotation: Int
    frames: Int
    fps: Real
    start_s: Real
    duration_s: Real
    variable_frame_rate: Bool
    corrupt_packets: Int
    damaged_frames: Int
    timing: Text
    camera: Text
    focal_35mm: OptReal


@dataclass(frozen=True)
class ClipSpan(Row):
    """A clip found in a video: frames [start_frame, end_frame), the shot that it lies in, the detector's score of
    the cut that it begins with (0 for the first).

    The clip's id is derived from the video and the span by the contract.
    """

    table = "clips"
    start_frame: Int
    end_frame: Int
    start_s: Real
    end_s: Real
    shot: Int
    score: Real
    width: Int
    height: Int
    fps: Real


@dataclass(frozen=True)
class Detection(Row):
    """A labelled box in one frame, cut to the picture: edges x0, y0, x1, y1 in px, x1 and y1 exclusive (pixels.py)."""

    table = "detections"
    frame: Int
    label: Text
    score: Real
    x0: Real
    y0: Real
    x1: Real
    y1: Real


@dataclass(frozen=True)
class Mask(Row):
    """One object's pixels in one frame. ``rle``: COCO compressed run-length counts, column-major; area in px."""

    table = "masks"
    frame: Int
    obj_id: Int
    label: Text
    rle: Text
    height: Int
    width: Int
    area: Int
    score: Real


@dataclass(frozen=True)
class TrackPoint(Row):
    """One tracked point in one frame, px; obj_id and label: of the mask that it was born in (0 and "": none)."""

    table = "tracks"
    track_id: Int
    frame: Int
    x: Real
    y: Real
    visible: Bool
    obj_id: Int
    label: Text


@dataclass(frozen=True)
class HandPose(Row):
    """One hand in one frame. side: "left" or "right", the person's own.

    keypoints_2d: [21x2] px in MediaPipe's joint order; keypoints_3d: [21x3] m, relative to the hand's centre in
    camera axes unless T_camera_hand is given. MANO fields are null unless the model gives them.
    score: the model's probability of the side. bone_spread: by which share the bone lengths of this hand vary while it
    is followed, before one skeleton is fitted to it; above 0.2 doubt the hand. Null without joints in space.
    """

    table = "hand_poses"
    frame: Int
    side: Text
    score: Real
    keypoints_2d: Points2D
    keypoints_3d: Points3D = None
    global_orient: Vector3 = None
    hand_pose: Vector45 = None
    betas: Vector10 = None
    T_camera_hand: OptMatrix = None
    bone_spread: OptReal = None


MOVING, ROTATION, STATIC = "moving", "rotation", "static"


@dataclass(frozen=True)
class CameraPose(Row):
    """The camera in one frame. T_world_camera [16]; scale is the reconstruction's own (metres only when metric).

    kind: what is known of a registered frame. "moving": its whole pose. "rotation": its rotation alone, since nothing
    showed parallax; the translation is 0 and means nothing. "static": the pose of a camera that stands still. A frame
    that was not registered carries the identity, registered = False and kind "".

    camera_model and distortion: as lenses.py has them; intrinsics: fx, fy, cx, cy in px. Null, null and empty when
    nothing showed the lens: then it was neither given nor measured.
    """

    table = "reconstructions"
    frame: Int
    T_world_camera: Matrix
    registered: Bool
    kind: Text
    camera_model: OptText
    intrinsics: OptIntrinsics
    distortion: Distortion


@dataclass(frozen=True)
class ObjectPose(Row):
    """One object's 6-D pose in one frame: T_camera_object [16]; score: share of points that agree (0-1)."""

    table = "object_poses"
    frame: Int
    obj_id: Int
    label: Text
    T_camera_object: Matrix
    score: Real


@dataclass(frozen=True)
class RobotPose(Row):
    """A robot hand's joint positions (rad) that follow one human hand in one frame; tip_error in m."""

    table = "robot_trajectories"
    frame: Int
    side: Text
    robot: Text
    joint_names: Names
    positions: Reals
    tip_error: Real


@dataclass(frozen=True)
class Caption(Row):
    """What happens in a span of the video, seconds, in words."""

    table = "captions"
    start_s: Real
    end_s: Real
    text: Text
    model: Text


def empty_table(name: str) -> pa.Table:
    """A table of a known name without rows; raises KeyError for a name that no row class has."""
    known = {row.table: row for row in Row.__subclasses__()}
    return schema(known[name]).empty_table()
