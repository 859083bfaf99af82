"""What is true in a sample video, as arrays by frame, and the folder of the truth of a video."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from egoworld_resources.sample import SampleOptions, decode_mask, is_rendered, load_truth, truth_errors
from egoworld_resources.sample.shots import Shot
from egoworld_resources.sample.truth_errors import Array, Rle

Flags = NDArray[np.bool_]
MOVES_M = 0.001
"""An object moves in a frame when its centre goes farther than this to or from a neighbouring frame, m."""


def truth_of(folder: Path, sha256: str) -> Path | None:
    """The truth folder among those in a folder of samples that belongs to the video of these bytes, or None."""
    for about in sorted(folder.glob("*.truth/truth.json")):
        if json.loads(about.read_text(encoding="utf-8"))["video_sha256"] == sha256:
            return about.parent
    return None


def licence_of_sample(video: Path, sha256: str) -> str:
    """The licence that a generated video declares in the truth beside it; "" for any other video."""
    about = video.with_suffix(".truth") / "truth.json"
    try:
        facts: dict[str, Any] = json.loads(about.read_text(encoding="utf-8"))
        return str(facts["licence"]) if facts["video_sha256"] == sha256 else ""
    except (OSError, ValueError, KeyError):
        return ""


class SampleTruth:
    """The truth of a sample video, by decode index: every array has one entry per frame."""

    def __init__(self, folder: Path) -> None:
        self.about = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
        self._video = folder.with_suffix(".mp4")
        cameras, objects = load_truth(folder, "reconstructions"), load_truth(folder, "object_poses")
        self.frames = range(len(cameras))
        self.size = np.array([cameras[0]["width"], cameras[0]["height"]])
        self.shots = np.array([row["shot"] for row in cameras])
        self.cuts = [row["frame"] for row in load_truth(folder, "cuts")][1:]
        self.t_world_camera = matrices(cameras, "T_world_camera")
        self.t_camera_object = matrices(objects, "T_camera_object")
        self.intrinsics = np.array([row["intrinsics"] for row in cameras])
        self.object_size = np.array([row["size"] for row in objects])
        self.hands = {row["frame"]: row for row in load_truth(folder, "hand_poses")}
        self.masks: dict[str, dict[int, Rle]] = {"hand": {}, "sleeve": {}, "object": {}}
        for row in load_truth(folder, "masks"):
            self.masks[row["label"]][row["frame"]] = run_lengths(row)

    @cached_property
    def moving(self) -> Flags:
        """Whether the object moves, by frame."""
        at = truth_errors.transformed(self.t_world_camera, self.t_camera_object[:, :3, 3])
        step = np.where(np.diff(self.shots) == 0, np.linalg.norm(np.diff(at, axis=0), axis=1), 0.0)
        return np.maximum(np.append(step, 0.0), np.append(0.0, step)) > MOVES_M

    @cached_property
    def room(self) -> dict[int, truth_errors.Rectangles]:
        """What does not move, by shot; empty when another version of the renderer made the sample."""
        options = SampleOptions(**self.about["options"])
        if not is_rendered(self._video, options):
            return {}
        return {int(shot): _rectangles(Shot(options, int(shot))) for shot in np.unique(self.shots)}

    def shot_frames(self, start: int, end: int) -> list[int]:
        """The frames of a span that are in the shot with most of the span."""
        inside = self.shots[start:end]
        shot = np.bincount(inside).argmax() if len(inside) else 0
        return [start + int(i) for i in np.flatnonzero(inside == shot)]

    def surface(self, frame: int, pixels: Array) -> tuple[Flags, Flags, Array]:
        """What is under pixels [n x 2]: on the object [n], on the background [n], and where in its own frame [n x 3].

        A point of the background is in world coordinates; the hand, which is not rigid, counts as neither.
        """
        columns, rows = np.clip(np.rint(pixels).astype(int), 0, self.size - 1).T
        on = {label: self._covers(label, frame)[rows, columns] for label in self.masks}
        rays = truth_errors.viewing_rays(self.intrinsics[frame], pixels)
        to_object, to_world = (
            truth_errors.rigid_inverse(self.t_camera_object[frame]),
            self.t_world_camera[frame],
        )
        depth = truth_errors.hit_box(to_object[:3, 3], rays @ to_object[:3, :3].T, self.object_size[frame])
        in_object = truth_errors.transformed(to_object, rays * np.where(np.isfinite(depth), depth, 1.0)[:, None])
        on_object, on_room = on["object"] & np.isfinite(depth), ~(on["object"] | on["hand"] | on["sleeve"])
        if not self.room:
            return on_object, np.zeros_like(on_room), in_object
        depth = self.room[int(self.shots[frame])].hit(to_world[:3, 3], rays @ to_world[:3, :3].T)
        in_world = truth_errors.transformed(to_world, rays * np.where(np.isfinite(depth), depth, 1.0)[:, None])
        return on_object, on_room & np.isfinite(depth), np.where(on_object[:, None], in_object, in_world)

    def _covers(self, label: str, frame: int) -> Flags:
        rle = self.masks[label].get(frame)
        if rle is None:
            return np.zeros(self.size[::-1], bool)
        return decode_mask({"height": rle["size"][0], "width": rle["size"][1], "rle": rle["counts"].decode("ascii")})


def _rectangles(shot: Shot) -> truth_errors.Rectangles:
    faces = [shot.room.top, *shot.room.faces]
    parts = ([f.origin for f in faces], [f.across for f in faces], [f.down for f in faces], [f.window for f in faces])
    return truth_errors.Rectangles(*(np.array(part, np.float64) for part in parts))


def matrices(rows: Iterable[Mapping[str, Any]], name: str) -> Array:
    """One column of poses as [n x 4 x 4]."""
    return np.array([row[name] for row in rows], np.float64).reshape(-1, 4, 4)


def run_lengths(row: Mapping[str, Any]) -> Rle:
    """The mask of a row of a masks table."""
    return {"size": [row["height"], row["width"]], "counts": row["rle"].encode("ascii")}
