"""The ground truth of a sample video as files, and its readers.

One parquet file a table; poses are row-major [16], `T_a_b` maps b into a, OpenCV camera axes, metres, pixels.

| table | columns |
|---|---|
| cuts | shot, frame: decode index of the first frame of each shot |
| reconstructions | frame, shot, T_world_camera, fx, fy, cx, cy, width, height |
| masks | frame, obj_id, label, rle (COCO, compressed), height, width, area: the pixels that are seen |
| hand_poses | frame, side, in_view 0..1, keypoints_2d [42], keypoints_3d [63]: 21 joints, MediaPipe's order, camera frame |
| object_poses | frame, obj_id, T_camera_object, size [3]: the box about its own centre |

Each shot has a world of its own: the trajectories of the two shots are not to be joined. Label `sleeve` is the clothed
part of the forearm; `hand` is skin only. hand_poses has a row where at least half of the joints lie in the image.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pycocotools import mask as coco

from .frames import LABELS, Truth, intrinsics_of
from .geometry import Mask
from .options import SampleOptions

_POSE = pa.list_(pa.float64(), 16)
SCHEMAS: Mapping[str, pa.Schema] = {
    "cuts": pa.schema([("shot", pa.int32()), ("frame", pa.int64())]),
    "reconstructions": pa.schema(
        [("frame", pa.int64()), ("shot", pa.int32()), ("T_world_camera", _POSE)]
        + [(name, pa.float64()) for name in ("fx", "fy", "cx", "cy")]
        + [("width", pa.int32()), ("height", pa.int32())]
    ),
    "masks": pa.schema(
        [("frame", pa.int64()), ("obj_id", pa.int32()), ("label", pa.string()), ("rle", pa.string())]
        + [("height", pa.int32()), ("width", pa.int32()), ("area", pa.int64())]
    ),
    "hand_poses": pa.schema(
        [("frame", pa.int64()), ("side", pa.string()), ("in_view", pa.float64())]
        + [("keypoints_2d", pa.list_(pa.float64(), 42)), ("keypoints_3d", pa.list_(pa.float64(), 63))]
    ),
    "object_poses": pa.schema(
        [("frame", pa.int64()), ("obj_id", pa.int32()), ("T_camera_object", _POSE)]
        + [("size", pa.list_(pa.float64(), 3))]
    ),
}
Row = dict[str, Any]


class TruthTables:
    """The rows of the truth, gathered a frame at a time."""

    def __init__(self, options: SampleOptions) -> None:
        self.options = options
        self.rows: dict[str, list[Row]] = {name: [] for name in SCHEMAS}
        self.rows["cuts"] = [{"shot": shot, "frame": frame} for shot, frame in enumerate(options.shot_starts)]
        k = intrinsics_of(options.width, options.height)
        self.camera = {"fx": k[0, 0], "fy": k[1, 1], "cx": k[0, 2], "cy": k[1, 2]}
        self.size = {"width": options.width, "height": options.height}

    def add(self, truth: Truth) -> None:
        """Take the rows of one frame."""
        frame = truth.frame
        t_world_camera = truth.t_world_camera.ravel().tolist()
        self.rows["reconstructions"].append(
            {"frame": frame, "shot": truth.shot, "T_world_camera": t_world_camera, **self.camera, **self.size}
        )
        for obj_id, mask in sorted(truth.masks.items()):
            if mask.any():
                row = {"frame": frame, "obj_id": obj_id, "label": LABELS[obj_id], "rle": encode_mask(mask)}
                self.rows["masks"].append({**row, **self.size, "area": int(mask.sum())})
        inside = (truth.pixels >= 0) & (truth.pixels < [self.options.width, self.options.height])
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
    return coco.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"].decode("ascii")


def decode_mask(row: Mapping[str, Any]) -> Mask:
    """The mask [height, width] of one row of the masks table."""
    return coco.decode({"size": [row["height"], row["width"]], "counts": row["rle"].encode("ascii")}).astype(bool)


def load_truth(folder: Path, table: str) -> pa.Table:
    """One table of a truth folder.

    Raises KeyError for a name that is not a table, FileNotFoundError for a folder that no sample was rendered to.
    """
    if table not in SCHEMAS:
        raise KeyError(f"no truth table {table!r}; there are: {', '.join(SCHEMAS)}")
    path = folder / f"{table}.parquet"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: render the sample again")
    return pq.read_table(path)


def truth_rows(folder: Path, table: str) -> Iterable[Row]:
    """The rows of one table of a truth folder."""
    return load_truth(folder, table).to_pylist()
