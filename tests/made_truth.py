"""Artifacts made from a sample's truth, whole or spoilt by a known amount."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco

from egoworld_assets.quality.accuracy import Measurement, accuracy_of
from egoworld_resources.artifacts.manifest import Manifest, Recipe, data_version, stored_files
from egoworld_resources.inbox.arrivals import Arrivals
from egoworld_resources.making.workbench import Workbench
from egoworld_resources.sample import load_truth, truth_errors
from egoworld_resources.sample.arrays import SampleTruth
from egoworld_resources.sample.boxes import TABLE_TOP
from egoworld_resources.settings import Settings
from egoworld_runner import clip_id, tables
from egoworld_runner.tables import Row
from tests.made_artifacts import write_table

Rows = list[tuple[str, Any]]
FRAMES = 16
SPANS = ((0, 8), (8, 16))
SIZE = (160, 90)
SCALE = 0.25
"""Metres are four of the made-up reconstruction's units."""
URDF = """<robot name="r"><joint name="bend" type="revolute"><limit lower="-0.5" upper="1.5"/></joint></robot>"""
STAGES = ("clips", "hand_poses", "masks", "tracks", "reconstructions", "object_poses", "robot_trajectories")
KINDS: tuple[type[Row], ...] = (
    tables.ClipSpan,
    tables.HandPose,
    tables.Mask,
    tables.TrackPoint,
    tables.CameraPose,
    tables.ObjectPose,
    tables.RobotPose,
)


class Made:
    """A workbench with the sample taken in, and artifacts that say exactly what is true."""

    def __init__(self, home: Path, scratch: Path) -> None:
        self.bench = Workbench(Settings.load(home=home))
        self.video = Arrivals(self.bench.store).take(home / "sample" / "short.mp4").video
        self.folder = home / "sample" / "short.truth"
        self.truth = SampleTruth(self.folder)
        self.scratch = scratch
        (scratch / "robot_right.urdf").write_text(URDF)

    def clip(self, frame: int) -> str:
        return next(clip_id(self.video, s, e) for s, e in SPANS if s <= frame < e)

    def put(self, kind: type[Row], rows: Rows, **changes: Any) -> None:
        """Publish one table as the artifact of its stage."""
        staged = self.scratch / kind.table
        write_table(staged, kind, rows)
        files = stored_files(staged)
        recipe = Recipe(
            stage=kind.table, env="made-up", model="m:M", label="", runner="0", contract="0", lock="0", packages={},
            weights={}, params={"urdf": f"{self.scratch}/robot_{{side}}.urdf"}, device="cpu", licence="CC0-1.0",
        )  # fmt: skip
        facts = self.bench.store.recorded("videos", self.video) or {}
        manifest = Manifest(
            asset=kind.table, video=self.video, data_version=data_version(files), fingerprint="0", files=files,
            inputs={}, recipe=recipe, clips=[], checks=[], licences=[], source={"sha256": facts["sha256"]},
            run_id="run", host="host", gpu=None, seconds=1.0, made_at="2020-01-01T00:00:00+00:00",
        )  # fmt: skip
        self.bench.store.put(staged, manifest.model_copy(update=changes))

    def true_rows(self, kind: type[Row]) -> Rows:
        return [(self.clip(getattr(row, "frame", getattr(row, "start_frame", 0))), row) for row in TRUE[kind](self)]

    def publish(self) -> None:
        for kind in KINDS:
            self.put(kind, self.true_rows(kind))

    def changed(self, kind: type[Row], change: Callable[[Any], Any]) -> None:
        """Publish the true rows of a table changed one by one; None leaves a row out."""
        pairs = [(clip, change(row)) for clip, row in self.true_rows(kind)]
        self.put(kind, [(clip, row) for clip, row in pairs if row is not None])

    def measure(self) -> dict[tuple[str, str], Measurement]:
        return {(m.stage, m.what): m for m in accuracy_of(self.bench, self.video, self.folder)}

    def value(self, stage: str, what: str) -> float:
        found = self.measure()[stage, what].value
        assert found is not None
        return found


def true_clips(made: Made) -> Sequence[Row]:
    return [tables.ClipSpan(s, e, s / 8, e / 8, n, 1.0, *SIZE, 8.0) for n, (s, e) in enumerate(SPANS)]


def true_hands(made: Made) -> Sequence[Row]:
    rows = load_truth(made.folder, "hand_poses")
    return [tables.HandPose(row["frame"], row["side"], 0.9, row["keypoints_2d"]) for row in rows]


def true_masks(made: Made) -> Sequence[Row]:
    """The hand as obj_id 2, the object as 5 beside a small blot that is 3."""
    blot = encoded(np.eye(SIZE[1], SIZE[0], dtype=np.uint8))
    out: list[Row] = []
    for row in load_truth(made.folder, "masks"):
        if row["label"] == "sleeve":
            continue
        obj_id = 2 if row["label"] == "hand" else 5
        out.append(mask(row["frame"], obj_id, row["rle"]))
        if obj_id == 5:
            out.append(mask(row["frame"], 3, blot))
    return out


def encoded(picture: Any) -> str:
    """A mask [h, w] as the masks table has it."""
    rle: Any = coco.encode(np.asfortranarray(picture, dtype=np.uint8))
    return rle["counts"].decode("ascii")


def mask(frame: int, obj_id: int, rle: str) -> tables.Mask:
    return tables.Mask(frame, obj_id, "hand" if obj_id < 3 else "object", rle, SIZE[1], SIZE[0], 1, 1.0)


def true_tracks(made: Made) -> Sequence[Row]:
    """Points of the table's top and of the object's upper face, found by the geometry of the sample alone."""
    truth, out = made.truth, list[Row]()
    covered = {label: truth.masks[label].keys() for label in truth.masks}
    assert covered["object"] == set(truth.frames)
    table = np.array([[x, y, TABLE_TOP] for x in (-0.2, -0.1, 0.0, 0.1, 0.2) for y in (-0.2, -0.1)])
    for start, end in SPANS:
        top = np.array([[x, y, 0.5] for x in (-0.4, -0.2, 0.1) for y in (-0.3, 0.3)]) * truth.object_size[start]
        to_world = truth_errors.rigid_inverse(truth.t_world_camera)
        for first, points, poses, obj_id in ((0, table, to_world, 0), (100, top, truth.t_camera_object, 5)):
            for number, point in enumerate(points):
                for frame in range(start, end):
                    pixel = truth_errors.project(
                        truth.intrinsics[frame], truth_errors.transformed(poses[frame], point[None])
                    )[0]
                    out.append(
                        tables.TrackPoint(
                            first + number, frame, *pixel.tolist(), visible=True, obj_id=obj_id, label="object"
                        )
                    )
    return out


def true_cameras(made: Made) -> Sequence[Row]:
    """The true trajectory in a world of its own: turned, moved and in other units."""
    turn = np.array([[0.0, -1, 0, 2], [1, 0, 0, 3], [0, 0, 1, 4], [0, 0, 0, 1]])
    out: list[Row] = []
    for frame in made.truth.frames:
        pose = turn @ made.truth.t_world_camera[frame]
        pose[:3, 3] /= SCALE
        out.append(
            tables.CameraPose(
                frame,
                pose,
                registered=True,
                kind="moving",
                camera_model="PINHOLE",
                intrinsics=made.truth.intrinsics[frame],
                distortion=(),
            )
        )
    return out


def true_object_poses(made: Made) -> Sequence[Row]:
    """The true poses of another frame on the object, in the units of the reconstruction."""
    own = np.array([[0.0, 0, 1, 0.01], [1, 0, 0, -0.02], [0, 1, 0, 0.03], [0, 0, 0, 1]])
    out: list[Row] = []
    for frame in made.truth.frames:
        pose = made.truth.t_camera_object[frame] @ own
        pose[:3, 3] /= SCALE
        out.append(tables.ObjectPose(frame, 5, "object", pose, 1.0))
    return out


def true_robot(made: Made) -> Sequence[Row]:
    return [tables.RobotPose(frame, "right", "made-up", ["bend"], [0.09 * frame], 0.004) for frame in range(FRAMES)]


TRUE: dict[type[Row], Callable[[Made], Sequence[Row]]] = {
    tables.ClipSpan: true_clips,
    tables.HandPose: true_hands,
    tables.Mask: true_masks,
    tables.TrackPoint: true_tracks,
    tables.CameraPose: true_cameras,
    tables.ObjectPose: true_object_poses,
    tables.RobotPose: true_robot,
}
