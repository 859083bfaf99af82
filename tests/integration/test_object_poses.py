"""Object poses from tracks of a box whose motion is known: right where they are given, silent where they cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from egoworld_resources.environments.building.builder import EnvBuilder
from egoworld_resources.environments.catalog import Catalog
from egoworld_runner import clip_id
from egoworld_runner.tables import CameraPose, TrackPoint, schema
from made_clips import ModelEnvRuns, Ran
from made_videos import counting

Array = NDArray[np.float64]
FRAMES = 66
SPAN = (0, FRAMES)
LENS = np.array([[420.0, 0, 319.5], [0, 420.0, 179.5], [0, 0, 1.0]])
DISTORTION = np.array([-0.05, 0.0, 0.0, 0.0])
SIZE = np.array([0.3, 0.2, 0.25])
RESTS = (range(22), range(44, FRAMES))
HIDDEN = range(30, 33)
NOISE_PX = 0.2


def pose(turn: list[float], at: list[float]) -> Array:
    out = np.eye(4)
    out[:3, :3], out[:3, 3] = cv2.Rodrigues(np.array(turn))[0], at
    return out


def camera(frame: int) -> Array:
    """T_world_camera of a camera that swings by."""
    u = frame / FRAMES
    return pose([0.05 * np.sin(6 * u), -0.7 * (u - 0.5), 0.02], [1.0 * (u - 0.5), -0.3 + 0.1 * np.sin(5 * u), 0.1 * u])


def box(frame: int, moving: bool) -> Array:
    """T_world_object of a box that rests, is carried and turned, and rests again; or of one that never rests."""
    if moving:
        u = frame / FRAMES
        return pose(
            [0.4 * np.sin(9 * u), 2.0 * u, 0.3], [0.5 * np.sin(7 * u), 0.3 * np.cos(8 * u), 1.5 + 0.4 * np.sin(5 * u)]
        )
    u = np.clip((frame - RESTS[0].stop) / (RESTS[1].start - RESTS[0].stop), 0, 1)
    u = u**3 * (10 + u * (6 * u - 15))
    return pose([0.3, 0.4 + 0.8 * u, 0.2 * u], [-0.2 + 0.4 * u, 0.1 - 0.3 * np.sin(np.pi * u), 1.5 - 0.1 * u])


def surface(rng: np.random.Generator, count: int) -> tuple[Array, Array]:
    """Points on a box and the outward normals of the faces that they lie on."""
    points, normals = rng.uniform(-0.5, 0.5, (count, 3)), np.zeros((count, 3))
    axis, sign = rng.integers(0, 3, count), rng.choice([-1.0, 1.0], count)
    points[np.arange(count), axis] = 0.5 * sign
    normals[np.arange(count), axis] = sign
    return points * SIZE, normals


def tracks(clip: str, moving: bool) -> list[dict[str, Any]]:
    """Noisy tracks of limited life on the box, of them a tenth that slid onto what does not move."""
    rng = np.random.default_rng(7)
    points, normals = surface(rng, 240)
    born = rng.integers(-20, FRAMES, len(points))
    life = rng.integers(14, 45, len(points))
    slid = rng.random(len(points)) < 0.1
    rows: list[dict[str, Any]] = []
    for frame in range(FRAMES):
        if frame in HIDDEN and not moving:
            continue
        view = np.linalg.inv(camera(frame)) @ box(frame, moving)
        local = points @ view[:3, :3].T + view[:3, 3]
        facing = np.einsum("ni,ni->n", local, normals @ view[:3, :3].T) < 0
        still = np.linalg.inv(camera(frame)) @ box(0, moving)
        local[slid] = points[slid] @ still[:3, :3].T + still[:3, 3]
        pixels = cv2.projectPoints(local, np.zeros(3), np.zeros(3), LENS, DISTORTION)[0].reshape(-1, 2)
        pixels += rng.normal(0, NOISE_PX, pixels.shape)
        alive = facing & (born <= frame) & (frame < born + life)
        rows += [
            {"clip_id": clip, "track_id": int(n), "frame": frame, "x": float(pixels[n, 0]), "y": float(pixels[n, 1])}
            | {"visible": True, "obj_id": 3, "label": "crate"}
            for n in np.flatnonzero(alive)
        ]
    return rows


def nonsense(clip: str) -> list[dict[str, Any]]:
    """Tracks that jump about."""
    rng = np.random.default_rng(9)
    return [
        {"clip_id": clip, "track_id": n, "frame": frame, "visible": True, "obj_id": 3, "label": "crate"}
        | {"x": float(rng.uniform(0, 640)), "y": float(rng.uniform(0, 360))}
        for frame in range(FRAMES)
        for n in range(30)
    ]


def trajectory(clip: str, registered: bool, kind: str = "moving") -> list[dict[str, Any]]:
    lens = {"intrinsics": [420.0, 420.0, 319.5, 179.5], "distortion": DISTORTION.tolist(), "camera_model": "OPENCV"}
    lens |= {"registered": registered, "kind": kind if registered else ""}
    return [
        {"clip_id": clip, "frame": n, "T_world_camera": (camera(n) if registered else np.eye(4)).reshape(-1).tolist()}
        | lens
        for n in range(FRAMES)
    ]


@pytest.fixture(scope="module")
def run(builder: EnvBuilder, catalog: Catalog, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("inputs")
    video = counting(folder / "video.mp4", FRAMES)
    inputs: dict[str, dict[str, Path]] = {}
    for name in ("carried", "restless", "unregistered", "nonsense", "empty", "rotation", "static"):
        clip = clip_id(name, *SPAN)
        found = {"nonsense": nonsense(clip), "empty": []}.get(name, tracks(clip, moving=name == "restless"))
        moves = name if name in ("rotation", "static") else "moving"
        rows = {TrackPoint: found, CameraPose: trajectory(clip, name != "unregistered", moves)}
        inputs[name] = {kind.table: folder / name / kind.table for kind in rows}
        for kind, values in rows.items():
            inputs[name][kind.table].mkdir(parents=True)
            table = pa.Table.from_pylist(values, schema=schema(kind))
            pq.write_table(table, inputs[name][kind.table] / f"{kind.table}.parquet")
    runs = ModelEnvRuns(builder, catalog, "base", "object_poses")
    videos = {name: (video, [SPAN]) for name in inputs}
    return lambda: runs.run(tmp_path_factory.mktemp("object"), videos, inputs)


@pytest.fixture(scope="module")
def ran(run: Any) -> Ran:
    return run()


def errors(rows: list[dict[str, Any]]) -> tuple[Array, Array]:
    """Rotation (degrees) and translation (share of the distance) of each row, but for one constant rigid offset."""
    true = np.array([np.linalg.inv(camera(row["frame"])) @ box(row["frame"], moving=False) for row in rows])
    found = np.array([np.reshape(row["T_camera_object"], (4, 4)) for row in rows])
    offsets = np.linalg.inv(found) @ true
    u, _, v = np.linalg.svd(offsets[:, :3, :3].sum(axis=0))
    offset = np.eye(4)
    offset[:3, :3], offset[:3, 3] = u @ v, np.median(offsets[:, :3, 3], axis=0)
    found = found @ offset
    traces = np.einsum("nij,nij->n", found[:, :3, :3], true[:, :3, :3])
    turn = np.degrees(np.arccos(np.clip((traces - 1) / 2, -1, 1)))
    return turn, np.linalg.norm(found[:, :3, 3] - true[:, :3, 3], axis=1) / true[:, 2, 3]


def test_a_carried_box_is_followed_from_rest_to_rest(ran: Ran) -> None:
    rows = ran.rows("carried", SPAN)
    assert {(row["obj_id"], row["label"]) for row in rows} == {(3, "crate")}
    frames = [row["frame"] for row in rows]
    assert frames == sorted(set(frames))
    assert len(frames) >= 0.9 * (FRAMES - len(HIDDEN))
    turn, shift = errors(rows)
    assert np.median(turn) < 1.0
    assert turn.max() < 4.0
    assert np.median(shift) < 0.005
    assert shift.max() < 0.02
    assert all(0.5 <= row["score"] <= 1.0 for row in rows)


def test_poses_are_rigid_and_sit_on_the_box(ran: Ran) -> None:
    """The frame is at the centroid of the points, which lies inside the box, with the world's axes while it rested."""
    rows = {row["frame"]: np.reshape(row["T_camera_object"], (4, 4)) for row in ran.rows("carried", SPAN)}
    for frame, found in rows.items():
        assert np.allclose(found[:3, :3] @ found[:3, :3].T, np.eye(3), atol=1e-6)
        assert np.linalg.det(found[:3, :3]) == pytest.approx(1.0)
        middle = np.linalg.inv(box(frame, moving=False)) @ camera(frame) @ found[:, 3]
        assert (np.abs(middle[:3]) < SIZE / 2).all()
    upright = [any(np.allclose((camera(n) @ rows[n])[:3, :3], np.eye(3), atol=0.02) for n in rest) for rest in RESTS]
    assert any(upright)


def test_no_row_where_nothing_is_seen(ran: Ran) -> None:
    assert not {row["frame"] for row in ran.rows("carried", SPAN)} & set(HIDDEN)


@pytest.mark.parametrize("video", ["restless", "nonsense"])
def test_what_never_rests_has_no_size_and_no_pose(ran: Ran, video: str) -> None:
    assert ran.rows(video, SPAN) == []
    assert "never lies still" in ran.report(video, SPAN)["notes"]["reason_of_3"]


@pytest.mark.parametrize("kind", ["rotation", "static"])
def test_a_camera_without_parallax_gives_no_object_poses(ran: Ran, kind: str) -> None:
    """Its tracks and even a path are there; they count for nothing since the camera's kind says so."""
    assert ran.rows(kind, SPAN) == []
    assert "shows no parallax, so no size or place is known" in ran.report(kind, SPAN)["notes"]["nothing"]


def test_an_unregistered_camera_gives_a_reason_instead_of_rows(ran: Ran) -> None:
    report = ran.report("unregistered", SPAN)
    assert report["state"] == "done"
    assert ran.rows("unregistered", SPAN) == []
    assert "registered" in report["notes"]["nothing"]


def test_no_objects_is_no_failure(ran: Ran) -> None:
    assert ran.report("empty", SPAN)["state"] == "done"
    assert ran.report("empty", SPAN)["notes"]["objects"] == 0


def test_the_same_bytes_again(ran: Ran, run: Any) -> None:
    assert run().table("carried", SPAN).read_bytes() == ran.table("carried", SPAN).read_bytes()
