# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# (pyarrow and pycocotools ship no types)
"""The ground truth of a sample video as files, and its readers.

One parquet file a table; poses are row-major [16], `T_a_b` maps b into a, OpenCV camera axes, metres, pixels; the
centre of the top left pixel is (0, 0).

| table | columns |
|---|---|
| cuts | shot, frame: decode index of the first frame of each shot |
| reconstructions | frame, shot, T_world_camera, camera_model, intrinsics [fx, fy, cx, cy], distortion, width, height |
| masks | frame, obj_id, label, rle (COCO, compressed), height, width, area: the pixels that are seen |
| hand_poses | frame, side, in_view 0..1, keypoints_2d [42], keypoints_3d [63]: 21 joints in MediaPipe's order |
| object_poses | frame, obj_id, T_camera_object, size [3]: the box about its own centre |

Each shot has a world of its own: the trajectories of the two shots are not to be joined. Label `sleeve` is the clothed
part of the forearm; `hand` is skin only. hand_poses has a row where at least half of the joints are in the image;
keypoints_3d are in the camera frame.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pycocotools import mask as coco

from egoworld_resources.errors import UnknownName
from egoworld_resources.sample.frames import LABELS, Truth, lens_of
from egoworld_resources.sample.geometry import Mask
from egoworld_resources.sample.options import SampleOptions

_FRAME = ("frame", pa.int64())
_OBJECT = ("obj_id", pa.int32())
_SIZE = (("width", pa.int32()), ("height", pa.int32()))


def _numbers(count: int) -> Any:
    return pa.list_(pa.float64(), count)


SCHEMAS: Mapping[str, pa.Schema] = {
    "cuts": pa.schema([("shot", pa.int32()), _FRAME]),
    "reconstructions": pa.schema(
        [
            _FRAME,
            ("shot", pa.int32()),
            ("T_world_camera", _numbers(16)),
            ("camera_model", pa.string()),
            ("intrinsics", _numbers(4)),
            ("distortion", pa.list_(pa.float64())),
            *_SIZE,
        ]
    ),
    "masks": pa.schema([_FRAME, _OBJECT, ("label", pa.string()), ("rle", pa.string()), *_SIZE, ("area", pa.int64())]),
    "hand_poses": pa.schema(
        [
            _FRAME,
            ("side", pa.string()),
            ("in_view", pa.float64()),
            ("keypoints_2d", _numbers(42)),
            ("keypoints_3d", _numbers(63)),
        ]
    ),
    "object_poses": pa.schema([_FRAME, _OBJECT, ("T_camera_object", _numbers(16)), ("size", _numbers(3))]),
}
Row = dict[str, Any]


class TruthTables:
    """The rows of the truth, gathered a frame at a time."""

    def __init__(self, options: SampleOptions) -> None:
        self.rows: dict[str, list[Row]] = {name: [] for name in SCHEMAS}
        self.rows["cuts"] = [{"shot": shot, "frame": frame} for shot, frame in enumerate(options.shot_starts)]
        lens = lens_of(options)
        self._camera: Row = {"camera_model": lens.model, "intrinsics": list(lens.intrinsics)}
        self._camera["distortion"] = list(lens.distortion)
        self._size: Row = {"width": options.width, "height": options.height}

    def add(self, truth: Truth) -> None:
        """Take the rows of one frame."""
        frame, size = truth.frame, self._size
        camera = {"shot": truth.shot, "T_world_camera": truth.t_world_camera.ravel().tolist(), **self._camera}
        self.rows["reconstructions"].append({"frame": frame, **camera, **size})
        for obj_id, mask in sorted(truth.masks.items()):
            if mask.any():
                row: Row = {"frame": frame, "obj_id": obj_id, "label": LABELS[obj_id], "rle": encode_mask(mask)}
                self.rows["masks"].append({**row, **size, "area": int(mask.sum())})
        inside = (truth.pixels >= -0.5) & (truth.pixels < [size["width"] - 0.5, size["height"] - 0.5])
        in_view = float((inside.all(axis=1) & (truth.joints[:, 2] > 0)).mean())
        if in_view >= 0.5:
            keypoints = {"keypoints_2d": truth.pixels.ravel().tolist(), "keypoints_3d": truth.joints.ravel().tolist()}
            self.rows["hand_poses"].append({"frame": frame, "side": "right", "in_view": in_view, **keypoints})
        at = {"T_camera_object": truth.t_camera_object.ravel().tolist(), "size": truth.object_size.tolist()}
        self.rows["object_poses"].append({"frame": frame, "obj_id": truth.obj_id, **at})

    def write(self, folder: Path) -> None:
        """One parquet file a table into an existing folder."""
        for name, schema in SCHEMAS.items():
            pq.write_table(pa.Table.from_pylist(self.rows[name], schema=schema), folder / f"{name}.parquet")


def encode_mask(mask: Mask) -> str:
    """A mask [h, w] as a compressed COCO run-length string."""
    counts: Any = coco.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"]
    return counts.decode("ascii")


def decode_mask(row: Mapping[str, Any]) -> Mask:
    """The mask [height, width] of one row of the masks table."""
    code: Any = {"size": [row["height"], row["width"]], "counts": row["rle"].encode("ascii")}
    with warnings.catch_warnings():  # its compiled part predates the copy argument of NumPy 2
        warnings.simplefilter("ignore", DeprecationWarning)
        return coco.decode(code).astype(bool)


def load_truth(folder: Path, table: str) -> list[Row]:
    """The rows of one table of a truth folder, by frame.

    Raises UnknownName for a name that is not a table, FileNotFoundError for a folder that no sample was rendered to.
    """
    if table not in SCHEMAS:
        raise UnknownName("truth table", table, SCHEMAS)
    path = folder / f"{table}.parquet"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: render the sample again")
    return pq.read_table(path).to_pylist()
