"""COLMAP in its own env: camera trajectories of pictures whose camera is known, and cameras that do not move."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from pycocotools import mask as coco

from egoworld_resources.environments.building.builder import EnvBuilder
from egoworld_resources.environments.catalog import Catalog
from egoworld_resources.sample import truth_errors
from egoworld_runner import clip_id
from egoworld_runner.lenses import Lens
from egoworld_runner.tables import Mask, Video, schema
from made_clips import ModelEnvRuns, Ran
from made_videos import make_video

pytestmark = pytest.mark.env

Array = NDArray[np.float64]
WIDTH, HEIGHT, FOCAL = 480, 270, 400.0
FRAMES = 36
SHOT = (0, FRAMES)
PLAIN = (0, 12)
LENS = np.array([[FOCAL, 0, (WIDTH - 1) / 2], [0, FOCAL, (HEIGHT - 1) / 2], [0, 0, 1.0]])
MOST_ERROR = 0.02
PHOTOGRAPHS_IN, PHOTOGRAPHS = "OpenSfM/data/berlin/images", ("01", "02", "03")
POSTER = (500, 250, 180, 180)
"""x, y, width and height in the wall's texture: a red picture, part of the static world."""
CORNER = [(-2.4, -1.6, 3.2, 4.8, 3.2), (-2.4, 0.9, 1.4, 4.8, 2.4)]
"""x, y, z of the top left, width and depth: a wall, and a floor seen from above that meets no wall."""


def texture(seed: int, height: int, width: int) -> NDArray[np.uint8]:
    """Grey blobs of many sizes, no two alike."""
    rng = np.random.default_rng(seed)
    out = np.zeros((height, width), np.float32)
    for cells in (6, 18, 54, 162):
        lattice = rng.uniform(0, 255, (cells * height // width + 2, cells)).astype(np.float32)
        out += np.asarray(cv2.resize(lattice, (width, height), interpolation=cv2.INTER_CUBIC)) / 4
    return np.clip(1.8 * (out - 128) + 128, 0, 255).astype(np.uint8)[..., None].repeat(3, axis=2)


def cameras() -> Array:
    """T_world_camera [n, 4, 4] of a camera that swings by and nods."""
    out = np.tile(np.eye(4), (FRAMES, 1, 1))
    for n, u in enumerate(np.linspace(0, 1, FRAMES)):
        turn = np.array([0.06 * np.sin(4 * u), -0.25 * (u - 0.5), 0.03 * np.sin(5 * u)])
        out[n, :3, :3] = cv2.Rodrigues(turn)[0]
        out[n, :3, 3] = [1.1 * (u - 0.5), 0.12 * np.sin(5 * u), 0.25 * u]
    return out


def turns() -> Array:
    """T_world_camera [n, 4, 4] of a camera that looks around from one place, by 23 degrees."""
    out = np.tile(np.eye(4), (FRAMES, 1, 1))
    for n, u in enumerate(np.linspace(0, 1, FRAMES)):
        out[n, :3, :3] = cv2.Rodrigues(np.array([0.08 * np.sin(6 * u), -0.4 * (u - 0.5), 0.05 * np.sin(5 * u)]))[0]
    return out


def plane_to_picture(pose: Array, number: int, side: NDArray[np.uint8]) -> Array:
    """The homography [3, 3] from a side's texture to the picture."""
    x, y, z, width, depth = CORNER[number]
    down, start = ([0, depth, 0], [x, y, z]) if number == 0 else ([0, 0, -depth], [x, y, z + depth])
    view = np.linalg.inv(pose)
    plane = np.stack([[width / side.shape[1], 0, 0], np.array(down) / side.shape[0], start], axis=1)
    plane = view[:3, :3] @ plane
    plane[:, 2] += view[:3, 3]
    return LENS @ plane


def picture(pose: Array, sides: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """The wall and the floor as a pinhole camera sees them."""
    out = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for number, side in enumerate(sides):
        plane = plane_to_picture(pose, number, side)
        covered = cv2.warpPerspective(np.ones(side.shape[:2], np.uint8), plane, (WIDTH, HEIGHT))
        out[covered > 0] = cv2.warpPerspective(side, plane, (WIDTH, HEIGHT), flags=cv2.INTER_AREA)[covered > 0]
    return out


def poster_mask(pose: Array, wall: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Where the poster is seen [h, w]."""
    x, y, width, height = POSTER
    there = np.zeros(wall.shape[:2], np.uint8)
    there[y : y + height, x : x + width] = 1
    return cv2.warpPerspective(there, plane_to_picture(pose, 0, wall), (WIDTH, HEIGHT))


def masks(folder: Path, video: str, span: tuple[int, int], seen: list[NDArray[np.uint8]]) -> Path:
    """An artifact of masks, one in each frame, or none at all."""
    folder.mkdir(parents=True)
    same = {"clip_id": clip_id(video, *span), "obj_id": 3, "label": "object", "score": 1.0}
    rows: list[dict[str, Any]] = [
        {**same, "frame": frame, "area": int(pixels.sum()), "height": HEIGHT, "width": WIDTH}
        | {"rle": coco.encode(np.asfortranarray(pixels))["counts"].decode()}
        for frame, pixels in enumerate(seen)
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=schema(Mask)), folder / "masks.parquet")
    return folder


@pytest.fixture(scope="module")
def colmap(builder: EnvBuilder, catalog: Catalog) -> ModelEnvRuns:
    return ModelEnvRuns(builder, catalog, "pycolmap", "reconstructions")


@pytest.fixture(scope="module")
def run(colmap: ModelEnvRuns, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Ran]:
    """The room, the room with its poster masked, a camera that only turns, one that does not move, and pictures without
    texture.
    """
    folder = tmp_path_factory.mktemp("videos")
    sides = [texture(1, 900, 1350), texture(2, 700, 1400)]
    x, y, width, height = POSTER
    sides[0][y : y + height, x : x + width, 0] |= 128
    sides[0][y : y + height, x : x + width, 1:] //= 8
    room = [picture(pose, sides) for pose in cameras()]
    rng = np.random.default_rng(5)
    still = [np.clip(room[0] + rng.normal(0, 2, room[0].shape), 0, 255).astype(np.uint8) for _ in range(12)]
    plain = [np.full((HEIGHT, WIDTH, 3), 90 + n, np.uint8) for n in range(12)]
    turned = [picture(pose, sides) for pose in turns()]
    pictures = {"room": room, "masked": room, "turned": turned, "still": still, "plain": plain}
    videos = {
        name: (make_video(folder / f"{name}.mp4", images, options={"crf": "16"}), [(0, len(images))])
        for name, images in pictures.items()
    }
    posters = [poster_mask(pose, sides[0]) for pose in cameras()]
    inputs = {
        name: {"masks": masks(folder / name, name, (0, len(images)), posters if name == "masked" else [])}
        for name, images in pictures.items()
    }
    return lambda: colmap.run(tmp_path_factory.mktemp("colmap"), videos, inputs)


@pytest.fixture(scope="module")
def ran(run: Callable[[], Ran]) -> Ran:
    return run()


def trajectory_error(rows: list[dict[str, Any]]) -> float:
    """RMSE of the positions after the best similarity (Umeyama 1991), as a share of the true path's length."""
    true = cameras()[:, :3, 3]
    found = np.array([row["T_world_camera"] for row in rows]).reshape(-1, 4, 4)[:, :3, 3]
    kept = true[[row["frame"] for row in rows]]
    a, b = found - found.mean(axis=0), kept - kept.mean(axis=0)
    u, scales, v = np.linalg.svd(b.T @ a)
    sign = np.diag([1, 1, np.sign(np.linalg.det(u @ v))])
    scale = float((scales * np.diag(sign)).sum() / (a**2).sum())
    error = np.sqrt((np.linalg.norm(scale * a @ (u @ sign @ v).T - b, axis=1) ** 2).mean())
    return float(error / np.linalg.norm(np.diff(true, axis=0), axis=1).sum())


def points_of(ran: Ran, video: str) -> list[tuple[float, ...]]:
    """x, y, z, red, green, blue of every point of points.ply."""
    header, _, body = (ran.table(video, SHOT).parent / "points.ply").read_bytes().partition(b"end_header\n")
    points = list(struct.iter_unpack("<fffBBB", body))
    assert int(header.split(b"element vertex ")[1].split(b"\n")[0]) == len(points)
    return points


def test_every_frame_is_registered_near_its_true_pose(ran: Ran) -> None:
    rows = ran.rows("room", SHOT)
    assert [row["frame"] for row in rows] == list(range(FRAMES))
    assert all(row["registered"] for row in rows)
    assert trajectory_error(rows) < MOST_ERROR
    assert np.allclose(np.reshape(rows[0]["T_world_camera"], (4, 4)), np.eye(4), atol=1e-9)
    fx, fy, cx, cy = rows[0]["intrinsics"]
    assert fx == fy == pytest.approx(FOCAL, rel=0.03)
    assert (cx, cy) == ((WIDTH - 1) / 2, (HEIGHT - 1) / 2)
    notes = ran.report("room", SHOT)["notes"]
    assert notes["registered"] == FRAMES > notes["keyframes"] == notes["registered_keyframes"]
    assert notes["mean_reprojection_error_px"] < 1.0


@cache
def bend() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where each pixel of the lens WIDE lies in a pinhole's picture, x and y [h, w]."""
    at = np.stack(np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT)), axis=-1).astype(np.float64)
    x, y = np.moveaxis(WIDE.normalised(at) * FOCAL + [(WIDTH - 1) / 2, (HEIGHT - 1) / 2], -1, 0)
    return x.astype(np.float32), y.astype(np.float32)


def bent(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A pinhole's picture as the lens WIDE shows it."""
    return np.asarray(cv2.remap(picture, *bend(), cv2.INTER_CUBIC), np.uint8)


WIDE = Lens("OPENCV_FISHEYE", (520.0, 520.0, (WIDTH - 1) / 2, (HEIGHT - 1) / 2), (-0.05, 0.01, 0.0, 0.0))
CAMERA = "Maker Wide 3"
CALIBRATION = {"model": WIDE.model, "width": 2 * WIDTH, "height": 2 * HEIGHT, "f": 1040.0}
CALIBRATION |= {"distortion": list(WIDE.distortion)}


@pytest.fixture(scope="module")
def wide(colmap: ModelEnvRuns, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Ran]:
    """The room and the turning camera through a fisheye, by a camera that its file names, without any masks; the room
    is two clips.
    """
    folder = tmp_path_factory.mktemp("wide")
    sides = [texture(1, 900, 1350), texture(2, 700, 1400)]
    pictures = {name: [bent(picture(pose, sides)) for pose in path] for name, path in PATHS.items()}
    videos, inputs = {}, {}
    for name, images in pictures.items():
        spans = [(0, 18), (18, FRAMES)] if name == "room" else [SHOT]
        videos[name] = (make_video(folder / f"{name}.mp4", images, options={"crf": "16"}), spans)
        inputs[name] = {"videos": probed(folder / name), "clips": cut(folder / f"{name}-clips", name, spans)}
    return lambda **params: colmap.run(tmp_path_factory.mktemp("ran"), videos, inputs, **params)


PATHS = {"room": cameras(), "turned": turns()}


def probed(folder: Path) -> Path:
    """An artifact of videos, as far as this stage reads it."""
    folder.mkdir(parents=True)
    facts = {field.name: None for field in schema(Video)} | {"camera": CAMERA}
    columns = [pa.field(field.name, field.type) for field in schema(Video)]
    pq.write_table(pa.Table.from_pylist([facts], schema=pa.schema(columns)), folder / "videos.parquet")
    return folder


def cut(folder: Path, video: str, spans: list[tuple[int, int]]) -> Path:
    """An artifact of clips, as far as this stage reads it."""
    folder.mkdir(parents=True)
    found = [{"clip_id": clip_id(video, *span), "start_frame": span[0], "end_frame": span[1]} for span in spans]
    pq.write_table(pa.Table.from_pylist(found), folder / "clips.parquet")
    return folder


def test_a_known_lens_is_taken_as_it_is(wide: Callable[..., Ran]) -> None:
    """By the camera's name, scaled from the size of its calibration; the rotations of a turning camera have it too."""
    ran = wide(lenses={CAMERA: CALIBRATION})
    halves = [ran.rows("room", span) for span in ((0, 18), (18, FRAMES))]
    for rows in (*halves, ran.rows("turned", SHOT)):
        assert all(row["registered"] for row in rows)
        assert {row["camera_model"] for row in rows} == {WIDE.model}
        np.testing.assert_allclose(rows[0]["intrinsics"], WIDE.intrinsics)
        np.testing.assert_allclose(rows[0]["distortion"], WIDE.distortion)
    assert max(trajectory_error(rows) for rows in halves) < MOST_ERROR
    turned = ran.rows("turned", SHOT)
    assert {row["kind"] for row in turned} == {"rotation"}
    poses = np.array([row["T_world_camera"] for row in turned]).reshape(-1, 4, 4)
    assert truth_errors.orientation_errors(poses[:, :3, :3], turns()[:, :3, :3]).max() < 0.1
    assert ran.report("turned", SHOT)["notes"]["lens"] == "given"


def test_clips_of_one_camera_have_one_lens(wide: Callable[..., Ran]) -> None:
    ran = wide()
    lenses = [
        (rows[0]["intrinsics"], rows[0]["distortion"])
        for rows in (ran.rows("room", span) for span in ((0, 18), (18, FRAMES)))
    ]
    assert lenses[0] == lenses[1]
    assert lenses[0][0][0] == pytest.approx(520, rel=0.1)


def test_a_lens_that_cannot_be_used_is_refused_in_words(wide: Callable[..., Ran]) -> None:
    ran = wide(lenses={CAMERA: CALIBRATION | {"model": "GOPRO"}})
    report = ran.report("turned", SHOT)
    assert report["state"] == "failed"
    assert (
        f"params.reconstructions.lenses.\"{CAMERA}\" in egoworld.toml: camera model 'GOPRO' is not" in report["reason"]
    )


def test_points_and_intrinsics_are_written(ran: Ran) -> None:
    points = points_of(ran, "room")
    assert len(points) == ran.report("room", SHOT)["notes"]["points"] > 200
    assert 0.5 < np.median([z for _, _, z, *_ in points]) < 2.0
    row = ran.rows("room", SHOT)[0]
    about = json.loads((ran.table("room", SHOT).parent / "intrinsics.json").read_text())
    assert [about[name] for name in ("fx", "fy", "cx", "cy")] == row["intrinsics"]
    assert about["model"] == row["camera_model"] == "SIMPLE_RADIAL"
    assert [about["k1"]] == row["distortion"]
    assert (about["width"], about["height"]) == (WIDTH, HEIGHT)


def test_what_is_masked_takes_no_part(ran: Ran) -> None:
    """The red poster belongs to the reconstruction unless it is masked; the trajectory holds without it."""
    red = {}
    for video in ("room", "masked"):
        rows = ran.rows(video, SHOT)
        assert all(row["registered"] for row in rows)
        assert trajectory_error(rows) < MOST_ERROR
        red[video] = sum(r - max(g, b) > 50 for *_, r, g, b in points_of(ran, video))
    assert red["room"] >= 10
    assert red["masked"] == 0


def test_a_camera_that_only_turns_has_rotations_alone(ran: Ran) -> None:
    """No place and no lens is invented, and the reason says so; the rotations are right all the same."""
    rows = ran.rows("turned", SHOT)
    assert [row["frame"] for row in rows] == list(range(FRAMES))
    assert {(row["registered"], row["kind"]) for row in rows} == {(True, "rotation")}
    assert {(row["camera_model"], row["intrinsics"], tuple(row["distortion"])) for row in rows} == {(None, None, ())}
    poses = np.array([row["T_world_camera"] for row in rows]).reshape(-1, 4, 4)
    assert not poses[:, :3, 3].any()
    assert truth_errors.orientation_errors(poses[:, :3, :3], turns()[:, :3, :3]).max() < 0.1
    notes = ran.report("turned", SHOT)["notes"]
    assert notes["camera"] == "rotation"
    assert "where the camera was is not known" in notes["reason"]
    assert [path.name for path in ran.table("turned", SHOT).parent.iterdir() if path.suffix in (".ply", ".json")] == [
        "clip.json"
    ]


def photographed(pose: Array, photograph: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What the camera sees of a photograph that is infinitely far away and 100 degrees wide, turned by a pose."""
    height, width = photograph.shape[:2]
    far = width / 2 / np.tan(np.radians(50))
    its = np.array([[far, 0, (width - 1) / 2], [0, far, (height - 1) / 2], [0, 0, 1.0]])
    homography = LENS @ pose[:3, :3].T @ np.linalg.inv(its)
    return np.asarray(cv2.warpPerspective(photograph, homography, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC), np.uint8)


def test_no_place_is_invented_where_a_real_photograph_turns(
    colmap: ModelEnvRuns, shared_data: Path, tmp_path: Path
) -> None:
    """A street with near and far things, turned by exact homographies: depth that it only seems to have is none."""
    videos = {}
    for name in PHOTOGRAPHS:
        photograph = cv2.cvtColor(cv2.imread(str(shared_data / PHOTOGRAPHS_IN / f"{name}.jpg")), cv2.COLOR_BGR2RGB)
        photograph = cv2.resize(photograph, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA)
        images = [photographed(pose, photograph) for pose in turns()]
        assert all(image[[0, -1]][:, [0, -1]].any() for image in images), "the photograph fills the picture"
        videos[name] = (make_video(tmp_path / f"{name}.mp4", images, options={"crf": "20"}), [SHOT])
    ran = colmap.run(tmp_path / "ran", videos)
    for name in PHOTOGRAPHS:
        rows = ran.rows(name, SHOT)
        assert {(row["registered"], row["kind"], row["intrinsics"]) for row in rows} == {(True, "rotation", None)}
        poses = np.array([row["T_world_camera"] for row in rows]).reshape(-1, 4, 4)
        assert not poses[:, :3, 3].any()
        assert truth_errors.orientation_errors(poses[:, :3, :3], turns()[:, :3, :3]).max() < 0.5


def test_a_camera_that_stands_still_has_one_pose(ran: Ran) -> None:
    rows = ran.rows("still", PLAIN)
    assert len(rows) == 12
    assert {(row["registered"], row["kind"], row["intrinsics"]) for row in rows} == {(True, "static", None)}
    assert all(row["T_world_camera"] == np.eye(4).reshape(-1).tolist() for row in rows)
    notes = ran.report("still", PLAIN)["notes"]
    assert notes["camera"] == "static"
    assert "static camera" in notes["reason"]


def test_a_wall_without_texture_is_refused_with_words(ran: Ran) -> None:
    report = ran.report("plain", PLAIN)
    assert report["state"] == "failed"
    assert "too plain" in report["reason"]


def test_the_same_bytes_again(ran: Ran, run: Callable[[], Ran]) -> None:
    again = run()
    whole = ("reconstructions.parquet", "points.ply", "intrinsics.json")
    for video, files in {"room": whole, "masked": whole, "turned": whole[:1]}.items():
        for file in files:
            one, two = (found.table(video, SHOT).parent / file for found in (ran, again))
            assert one.read_bytes() == two.read_bytes(), (video, file)
