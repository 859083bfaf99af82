"""A tiny video and the artifacts of its earlier stages, written by the contract's own schemas, for tests."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pycocotools import mask as coco

from egoworld_runner import clip_id, tables
from egoworld_runner.job import Job, VideoJob
from egoworld_runner.tables import Row, columns, plain, schema

TICKS = 90_000
JOINTS = ("thumb_flex", "index_flex", "middle_flex", "ring_flex")
IDENTITY = np.eye(4)


@dataclass(frozen=True)
class MadeVideo:
    """A video with the folder of every artifact made for it."""

    name: str
    path: Path
    clips: tuple[tuple[int, int], ...]
    times: NDArray[np.float64]
    artifacts: Mapping[str, Path]

    def id(self, number: int) -> str:
        return clip_id(self.name, *self.clips[number])


def make_video(path: Path, times: Sequence[float], width: int = 160, height: int = 90) -> None:
    """Frame i is a grey of level 16 + 5 * (i mod 44), with a bright square that walks to the right."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": "12", "bf": "0", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, TICKS)
        for number, time_s in enumerate(times):
            rgb = np.full((height, width, 3), level(number), np.uint8)
            x = (4 * number) % (width - 16)
            rgb[height // 2 : height // 2 + 16, x : x + 16] = (230, 60, 60)
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.pts, frame.time_base = round(time_s * TICKS), Fraction(1, TICKS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def level(number: int) -> int:
    """Grey level of frame ``number``: tells which frame a decoded picture was."""
    return 16 + 5 * (number % 44)


def hand_points(number: int, side: str, width: int, height: int) -> NDArray[np.float64]:
    """21 keypoints (px) of an open hand that moves with the frame number."""
    fan = np.linspace(-0.7, 0.7, 5)
    base = np.array([width * (0.65 if side == "right" else 0.3) + number % 20, height * 0.85])
    points = [base]
    for finger in range(5):
        for joint in range(1, 5):
            reach = height * (0.12 + 0.09 * joint)
            points.append(base + reach * np.array([np.sin(fan[finger]), -np.cos(fan[finger])]))
    return np.array(points)


def camera(number: int) -> NDArray[np.float64]:
    pose = np.eye(4)
    pose[:3, 3] = (0.02 * number, 0.005 * np.sin(number / 5), 0.01 * number)
    return pose


def box_rle(x: int, y: int, size: int, width: int, height: int) -> str:
    picture = np.zeros((height, width), np.uint8, order="F")
    picture[y : y + size, x : x + size] = 1
    counts: Any = coco.encode(picture)["counts"]
    return counts.decode("ascii")


def write_table(folder: Path, row: type[Row], rows: Sequence[tuple[str, Row]]) -> None:
    """One artifact table from (clip id, row) pairs."""
    folder.mkdir(parents=True, exist_ok=True)
    plainly = [{"clip_id": cid, **{name: plain(getattr(r, name)) for name in columns(row)}} for cid, r in rows]
    pq.write_table(pa.Table.from_pylist(plainly, schema=schema(row)), folder / f"{row.table}.parquet")


def make(
    folder: Path,
    name: str = "made",
    frames: int = 60,
    fps: float = 20.0,
    clips: Sequence[tuple[int, int]] = ((0, 30), (30, 60)),
    times: Sequence[float] | None = None,
    size: tuple[int, int] = (160, 90),
    robot_clips: Sequence[int] = (0, 1),
    robot_sides: Sequence[str] = ("right", "left"),
    robot: str = "generic_hand",
) -> MadeVideo:
    """A video with two hands (the left one absent in every tenth frame), an object, a camera path and robot joints."""
    width, height = size
    folder.mkdir(parents=True, exist_ok=True)
    stamps = [t - times[0] for t in times] if times is not None else [i / fps for i in range(frames)]
    path = folder / f"{name}.mp4"
    make_video(path, stamps, width, height)
    rows: dict[type[Row], list[tuple[str, Row]]] = {
        kind: []
        for kind in (
            tables.ClipSpan,
            tables.HandPose,
            tables.Detection,
            tables.Mask,
            tables.TrackPoint,
            tables.CameraPose,
            tables.ObjectPose,
            tables.RobotPose,
        )
    }
    for number, (start, end) in enumerate(clips):
        cid = clip_id(name, start, end)
        end_s = stamps[end] if end < len(stamps) else stamps[-1] + 1 / fps
        span = tables.ClipSpan(start, end, stamps[start], end_s, number, 0.0, width, height, fps)
        rows[tables.ClipSpan].append((cid, span))
        for frame in range(start, end):
            for row in _rows_of(frame, size, robot, robot_sides if number in robot_clips else ()):
                rows[type(row)].append((cid, row))
    artifacts = {kind.table: folder / f"{name}-artifacts" / kind.table for kind in rows}
    for kind, pairs in rows.items():
        write_table(artifacts[kind.table], kind, pairs)
    for start, end in clips:
        place = artifacts["reconstructions"] / clip_id(name, start, end)
        place.mkdir(parents=True, exist_ok=True)
        write_ply(place / "points.ply")
    return MadeVideo(name, path, tuple(clips), np.asarray(stamps), artifacts)


def only_turning(made: MadeVideo) -> None:
    """Make the camera of a video one that only turns: rotations, but neither places nor a lens."""
    path = made.artifacts["reconstructions"] / "reconstructions.parquet"
    rows = pq.read_table(path).to_pylist()
    for row in rows:
        pose = np.reshape(row["T_world_camera"], (4, 4))
        pose[:3, 3] = 0
        row |= {"T_world_camera": pose.ravel().tolist(), "kind": "rotation" if row["registered"] else ""}
        row |= {"camera_model": None, "intrinsics": None, "distortion": []}
    pq.write_table(pa.Table.from_pylist(rows, schema=tables.schema(tables.CameraPose)), path)


def _rows_of(frame: int, size: tuple[int, int], robot: str, robot_sides: Sequence[str]) -> list[Row]:
    width, height = size
    x, y = (4 * frame) % (width - 16), height // 2
    made: list[Row] = [
        tables.Detection(frame, "object", 0.8, x, y, x + 16, y + 16),
        tables.Mask(frame, 3, "object", box_rle(x, y, 16, width, height), height, width, 256, 0.9),
        tables.CameraPose(
            frame,
            camera(frame),
            frame % 7 != 6,
            "moving" if frame % 7 != 6 else "",
            "OPENCV",
            [width, width, width / 2, height / 2],
            [-0.1, 0.01, 0.0, 0.001],
        ),
        tables.ObjectPose(frame, 3, "object", _object_pose(frame), 0.9),
    ]
    made += [
        tables.TrackPoint(number, frame, x + 3 * number, y + 2 * number, visible=True, obj_id=3, label="object")
        for number in range(4)
    ]
    for side in ("left", "right"):
        if side == "left" and frame % 10 == 9:
            continue
        points = hand_points(frame, side, width, height)
        metres = np.concatenate([(points - points.mean(0)) / width * 0.3, np.zeros((21, 1))], axis=1)
        made.append(tables.HandPose(frame, side, 0.9, points, metres))
        if side in robot_sides:
            made.append(tables.RobotPose(frame, side, robot, JOINTS, joint_positions(frame, side), 0.004))
    return made


def joint_positions(frame: int, side: str) -> list[float]:
    return [0.01 * frame + 0.1 * joint + (0.5 if side == "left" else 0.0) for joint in range(len(JOINTS))]


def _object_pose(frame: int) -> NDArray[np.float64]:
    pose = np.eye(4)
    pose[:3, 3] = (0.01 * (frame % 30) - 0.15, 0.05, 1.0)
    return pose


def write_ply(path: Path, count: int = 200) -> None:
    """A little coloured cloud, ASCII PLY."""
    rng = np.random.default_rng(0)
    points = rng.uniform((-1, -1, 1), (1, 1, 3), (count, 3))
    colours = rng.integers(0, 255, (count, 3))
    kinds = [*(f"property float {n}" for n in "xyz"), *(f"property uchar {n}" for n in ("red", "green", "blue"))]
    header = ["ply", "format ascii 1.0", f"element vertex {count}", *kinds, "end_header"]
    body = [f"{x:.4f} {y:.4f} {z:.4f} {r} {g} {b}" for (x, y, z), (r, g, b) in zip(points, colours, strict=True)]
    path.write_text("\n".join([*header, *body]) + "\n", encoding="ascii")


def run_stage(
    folder: Path,
    entry: str,
    stage: str,
    video: MadeVideo,
    output: Path,
    params: Mapping[str, Any],
    python: Path | str = sys.executable,
) -> tuple[Path, dict[str, Any]]:
    """Run a whole-video stage by the runner command line; gives its folder and its report."""
    inputs = {name: str(path) for name, path in video.artifacts.items()}
    job = Job(
        stage,
        str(folder),
        entry,
        (VideoJob(video.name, str(video.path), str(output), None, inputs),),
        params=dict(params),
    )
    output.mkdir(parents=True, exist_ok=True)
    file = output / "job.json"
    file.write_text(json.dumps(asdict(job)), encoding="utf-8")
    done = subprocess.run(
        [str(python), "-I", "-m", "egoworld_runner", "run", "--job", str(file)],
        capture_output=True,
        text=True,
        check=False,
        cwd=output,
    )
    assert done.returncode == 0, done.stderr
    place = output / "whole"
    return place, json.loads((place / "clip.json").read_text(encoding="utf-8"))


def declared_params(pyproject: Path, stage: str) -> dict[str, Any]:
    """The default parameters that a model env declares for a stage."""
    import tomllib

    text = pyproject.read_text(encoding="utf-8")
    return tomllib.loads(text)["tool"]["egoworld"]["stages"][stage]["params"]
