"""Object poses on HOT3D's sample: recorded objects and headset, tracks of points on the scanned surfaces."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from egoworld_resources.environments.building.builder import EnvBuilder
from egoworld_resources.environments.catalog import Catalog
from egoworld_resources.sample import truth_errors
from egoworld_resources.sample.arrays import matrices
from egoworld_runner import clip_id
from egoworld_runner.tables import CameraPose, ObjectPose, Row, TrackPoint, schema
from tests.accuracy.figures import Figure
from tests.accuracy.hot3d import Array, Hot3d
from tests.made_clips import ModelEnvRuns
from tests.made_videos import counting

DATA = "HOT3D sample, recorded objects"
POINTS = 80
DRIFT_PX = 0.1
"""How far a track strays from its point from frame to frame, in x and in y: half a pixel after 15 frames."""
LENS = np.array([500.0, 500.0, 640.0, 640.0])
"""A lens without distortion in the place of the headset's fisheye, which the stage knows nothing of."""
FIRST_OBJECT = 3
FLOAT = 5126


def scanned_surface(glb: Path, count: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Places and outward normals [count x 3] of random vertices of a binary glTF, m in the object's frame.

    Source: Khronos, "glTF 2.0 specification", section 4 (GLB).
    """
    data = glb.read_bytes()
    (length,) = struct.unpack_from("<I", data, 12)
    about, start = json.loads(data[20 : 20 + length]), 28 + length
    attributes = about["meshes"][0]["primitives"][0]["attributes"]
    found: list[Array] = []
    for name in ("POSITION", "NORMAL"):
        accessor = about["accessors"][attributes[name]]
        view = about["bufferViews"][accessor["bufferView"]]
        assert accessor["componentType"] == FLOAT
        at = start + view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
        apart = (view.get("byteStride", 12), 4)
        found.append(np.ndarray((accessor["count"], 3), "<f4", data, at, apart).astype(np.float64))
    chosen = rng.choice(len(found[0]), count, replace=False)
    return found[0][chosen] * about["nodes"][0]["scale"], found[1][chosen]


def tracks_on(surface: tuple[Array, Array], poses: Array, clip: str, obj_id: int, rng: Any) -> list[dict[str, Any]]:
    """Rows of the tracks table of the points that face the camera, by poses T_camera_object [n x 4 x 4]."""
    points, normals = surface
    rows: list[dict[str, Any]] = []
    drift = rng.normal(0, DRIFT_PX, (len(poses), len(points), 2)).cumsum(axis=0)
    for frame, pose in enumerate(poses):
        seen = truth_errors.transformed(pose, points)
        facing = np.einsum("ni,ni->n", seen, normals @ pose[:3, :3].T) < 0
        pixels = truth_errors.project(LENS, seen) + drift[frame]
        inside = ((pixels > 0) & (pixels < 2 * LENS[2:])).all(axis=1)
        rows += [
            {
                "clip_id": clip,
                "track_id": POINTS * obj_id + int(n),
                "frame": frame,
                "visible": True,
                "obj_id": obj_id,
                "label": "object",
            }
            | {"x": float(pixels[n, 0]), "y": float(pixels[n, 1])}
            for n in np.flatnonzero(facing & inside)
        ]
    return rows


def put(folder: Path, kind: type[Row], rows: list[dict[str, Any]]) -> Path:
    """One table as an artifact folder."""
    folder.mkdir(parents=True)
    whole = [dict.fromkeys(schema(kind).names) | row for row in rows]
    pq.write_table(pa.Table.from_pylist(whole, schema=schema(kind)), folder / f"{kind.table}.parquet")
    return folder


def measure(data: Path, builder: EnvBuilder, catalog: Catalog, folder: Path) -> list[Figure]:
    """Errors of the poses of every object of the sample that was scanned."""
    recording, rng = Hot3d.of(data), np.random.default_rng(0)
    span = (0, len(recording.times))
    clip, cameras = clip_id("hot3d", *span), recording.t_world_camera
    scans = sorted((recording.folder.parents[1] / "object_library").glob("*.glb"))
    objects = recording.objects()
    true = {n: truth_errors.rigid_inverse(cameras) @ objects[scan.stem] for n, scan in enumerate(scans, FIRST_OBJECT)}
    tracks = [
        row
        for obj_id, scan in enumerate(scans, FIRST_OBJECT)
        for row in tracks_on(scanned_surface(scan, POINTS, rng), true[obj_id], clip, obj_id, rng)
    ]
    known = {"registered": True, "kind": "moving", "camera_model": "PINHOLE", "intrinsics": LENS.tolist()}
    known |= {"distortion": [], "clip_id": clip}
    path = [known | {"frame": n, "T_world_camera": pose.ravel().tolist()} for n, pose in enumerate(cameras)]
    inputs = {
        "tracks": put(folder / "tracks", TrackPoint, tracks),
        "reconstructions": put(folder / "reconstructions", CameraPose, path),
    }
    video = counting(folder / "recording.mp4", span[1], [33 * n for n in range(span[1])])
    runs = ModelEnvRuns(builder, catalog, "base", ObjectPose.table)
    rows = runs.run(folder / "run", {"hot3d": (video, [span])}, {"hot3d": inputs}).rows("hot3d", span)
    turns, gaps, shares = [], [], []
    for obj_id, poses in true.items():
        mine = [row for row in rows if row["obj_id"] == obj_id]
        shares.append(100 * len(mine) / span[1])
        if len(mine) < truth_errors.MIN_POINTS:
            turns, gaps = [*turns, np.nan], [*gaps, np.nan]
            continue
        errors = truth_errors.object_pose_errors(
            matrices(mine, "T_camera_object"), poses[[r["frame"] for r in mine]], 1.0
        )
        turns.append(float(np.median(errors[0])))
        gaps.append(1000 * float(np.median(errors[1])))
    return [
        Figure(ObjectPose.table, DATA, "rotation error, median", tuple(turns), "deg"),
        Figure(ObjectPose.table, DATA, "translation error, median", tuple(gaps), "mm"),
        Figure(ObjectPose.table, DATA, "has a pose", tuple(shares), "%"),
    ]
