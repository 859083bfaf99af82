"""Stage object_poses: an object's points from while it lay still, followed by its tracks ever after."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from egoworld_runner import Clip, Inputs, Params, Runner, tables
from object_points import Array, Fit, Flags, solve, triangulate

FIRST_OBJECT = 3
STILL_SHARE = 0.85
STILL_STEP_S = 0.2
ROUNDS = 2
LEARN_EVERY = 4


class PnpObjectPoses(Runner):
    """The pose of every object in the camera, where its tracked points agree on one.

    While an object lies still, the camera's own motion triangulates its tracks; from then on the points give its pose
    in each frame (PnP), and poses give the points of new tracks. The object's frame sits at the centroid of its points
    with the world's axes at the time it lay still. Scale is the reconstruction's.
    """

    writes = (tables.ObjectPose,)

    def run(self, clip: Clip, inputs: Inputs, params: Params) -> Iterator[tables.Row]:
        """Rows ordered by frame and obj_id; none for a frame whose fit is not trusted."""
        cv2.setNumThreads(1)
        camera = Cameras.read(inputs.rows("reconstructions"), clip)
        tracks = [row for row in inputs.rows("tracks") if row["obj_id"] >= FIRST_OBJECT and row["visible"]]
        objects = sorted({row["obj_id"] for row in tracks})
        clip.note("objects", len(objects))
        if not camera.registered.any():
            clip.note("reason", "no frame of the camera's trajectory is registered, so no size or place is known")
            return
        rows: list[tables.ObjectPose] = []
        for obj_id in objects:
            seen = camera.seen([row for row in tracks if row["obj_id"] == obj_id], clip)
            body = Body(seen, camera, clip.fps, params)
            for frame, fit in sorted(body.follow().items()):
                pose = fit.pose @ body.frame
                rows.append(tables.ObjectPose(clip.start_frame + frame, obj_id, pose, fit.share))
            clip.note(f"points_of_{obj_id}", int(body.known.sum()))
            if body.trouble:
                clip.note(f"reason_of_{obj_id}", body.trouble)
        clip.note("posed", len(rows))
        yield from sorted(rows, key=lambda row: (row.frame, row.obj_id))
        clip.progress(clip.end_frame - 1)


@dataclass(frozen=True)
class Cameras:
    """T_camera_world [n, 4, 4] of every frame of a clip, which are registered [n], and the lens that they share."""

    poses: Array
    registered: Flags
    intrinsics: Array
    distortion: Array

    @classmethod
    def read(cls, rows: list[dict[str, Any]], clip: Clip) -> Cameras:
        poses, registered = np.tile(np.eye(4), (len(clip), 1, 1)), np.zeros(len(clip), np.bool_)
        for row in rows:
            at = row["frame"] - clip.start_frame
            poses[at] = np.linalg.inv(np.reshape(row["T_world_camera"], (4, 4)))
            registered[at] = row["registered"]
        lens = rows[0] if rows else {"intrinsics": [1.0, 1.0, 0.0, 0.0], "distortion": [0.0] * 4}
        return cls(poses, registered, np.array(lens["intrinsics"]), np.array(lens["distortion"]))

    @property
    def focal(self) -> float:
        """Mean focal length, px."""
        return float(self.intrinsics[:2].mean())

    def seen(self, tracks: list[dict[str, Any]], clip: Clip) -> Array:
        """Where each track was seen in each frame of the clip, normalised [m, n, 2], NaN where not."""
        order = {track: at for at, track in enumerate(sorted({row["track_id"] for row in tracks}))}
        seen = np.full((len(order), len(clip), 2), np.nan)
        fx, fy, cx, cy = self.intrinsics
        lens = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])
        pixels = np.array([(row["x"], row["y"]) for row in tracks])
        flat = cv2.undistortPoints(pixels[:, None], lens, self.distortion).reshape(-1, 2)
        for row, xy in zip(tracks, flat, strict=True):
            seen[order[row["track_id"]], row["frame"] - clip.start_frame] = xy
        return seen


class Body:
    """One object: its tracks ``seen`` [m, n, 2], its points as far as they are ``known`` [m], its poses by frame.

    Until ``frame`` is read, the object's frame is the world's, taken while the object lay still.
    """

    def __init__(self, seen: Array, camera: Cameras, fps: float, params: Mapping[str, Any]) -> None:
        self._seen, self._camera = seen, camera
        self._fps = fps or 30.0
        self._limit = float(params["max_error_px"]) / camera.focal
        self._least = int(params["min_points"])
        self._share = float(params["min_share"])
        self._angle = np.radians(float(params["min_angle_deg"]))
        self._turn = np.radians(float(params["max_turn_deg_s"])) / self._fps
        self._move = float(params["max_move_s"]) / self._fps
        self.points = np.zeros((len(seen), 3))
        self.known: NDArray[np.bool_] = np.zeros(len(seen), np.bool_)
        self.trouble = ""

    @property
    def frame(self) -> Array:
        """T_world_object [4, 4] while it lay still: the world's axes at the centroid of the points."""
        out = np.eye(4)
        out[:3, 3] = self.points[self.known].mean(axis=0)
        return out

    def follow(self) -> dict[int, Fit]:
        """The trusted fit of every frame that has one, by frame of the clip."""
        still = self._still()
        if still is None:
            self.trouble = "it never lies still long enough, with enough tracked points, for its size to be measured"
            return {}
        start, end = still
        fits = {at: Fit(self._camera.poses[at], 1.0, 0) for at in range(start, end) if self._camera.registered[at]}
        self._learn(np.arange(len(self._seen)), fits)
        count = self._seen.shape[1]
        self._chain(range(end, count), fits)
        self._chain(range(start - 1, -1, -1), fits)
        for _ in range(ROUNDS):
            self._learn(np.arange(len(self._seen)), fits)
            fits = self._resolve(fits)
        return fits

    def _still(self) -> tuple[int, int] | None:
        """The frames [start, end) in which most points can be triangulated by the camera's motion alone.

        A window grows while the tracks in it fit points that do not move; then the next one begins.
        """
        step = max(2, round(STILL_STEP_S * self._fps))
        count = self._seen.shape[1]
        best, most = None, self._least - 1
        start = 0
        while start < count - step:
            end = start + step
            while end < count and self._rests(start, min(end + step, count)):
                end = min(end + step, count)
            good = int(self._triangulable(start, end).sum()) if self._rests(start, end) else 0
            if good > most:
                best, most = (start, end), good
            start = max(end - step, start + step)
        return best

    def _window(self, start: int, end: int) -> tuple[Array, Array]:
        frames = np.flatnonzero(self._camera.registered[start:end]) + start
        seen = self._seen[:, frames]
        alive = np.isfinite(seen[..., 0]).sum(axis=1) >= 2
        return self._camera.poses[frames], seen[alive]

    def _rests(self, start: int, end: int) -> bool:
        poses, seen = self._window(start, end)
        if len(poses) < 2 or len(seen) < self._least:
            return False
        found = triangulate(poses, seen, self._limit / 2)
        return bool(found.agree.sum() >= STILL_SHARE * found.used.sum())

    def _triangulable(self, start: int, end: int) -> Flags:
        poses, seen = self._window(start, end)
        found = triangulate(poses, seen, self._limit / 2)
        return (found.angle > self._angle) & (found.agree.sum(axis=1) >= 3)

    def _learn(self, tracks: NDArray[np.int64], fits: Mapping[int, Fit]) -> None:
        """Triangulate tracks in the object's frame from the frames that have a pose."""
        frames = np.array(sorted(fits))
        found = triangulate(np.array([fits[at].pose for at in frames]), self._seen[np.ix_(tracks, frames)], self._limit)
        agreeing, seen = found.agree.sum(axis=1), found.used.sum(axis=1)
        good = (found.angle > self._angle) & (agreeing >= 3) & (agreeing >= 0.6 * seen)
        self.points[tracks[good]] = found.points[good]
        self.known[tracks] = good

    def _chain(self, frames: range, fits: dict[int, Fit]) -> None:
        """Frame after frame from a known one; new tracks get their points on the way."""
        near, gap = fits[frames.start - frames.step] if frames.start - frames.step in fits else None, 1
        for count, at in enumerate(frames):
            fit = self._fit(at, None if near is None else near.pose, gap)
            gap = gap + 1 if fit is None else 1
            if fit is None:
                continue
            fits[at] = near = fit
            if count % LEARN_EVERY == 0:
                fresh = np.flatnonzero(np.isfinite(self._seen[:, at, 0]) & ~self.known)
                if len(fresh):
                    self._learn(fresh, fits)

    def _resolve(self, fits: Mapping[int, Fit]) -> dict[int, Fit]:
        """Every frame again, with all points; a frame beside none that was solved has nothing to be compared with."""
        out: dict[int, Fit] = {}
        for at in sorted(fits):
            fit = self._fit(at, fits[at].pose, 1)
            if fit is not None:
                out[at] = fit
        return out

    def _fit(self, at: int, near: Array | None, gap: int) -> Fit | None:
        """The fit of one frame, None when it is not trusted; ``near``: the pose of a frame ``gap`` frames away."""
        there = self.known & np.isfinite(self._seen[:, at, 0])
        if there.sum() < self._least:
            return None
        fit = solve(self.points[there], self._seen[there, at], near, self._limit)
        if fit is None or fit.agreeing < self._least or fit.share < self._share:
            return None
        if near is not None:
            change = fit.pose @ np.linalg.inv(near)
            turn = np.arccos(np.clip((np.trace(change[:3, :3]) - 1) / 2, -1, 1))
            middle = self.points[there].mean(axis=0)
            before, now = (pose[:3, :3] @ middle + pose[:3, 3] for pose in (near, fit.pose))
            if turn > gap * self._turn or np.linalg.norm(now - before) > gap * self._move * abs(before[2]):
                return None
        return fit
