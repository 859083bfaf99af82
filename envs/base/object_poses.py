"""Stage object_poses: an object's points from while it lay still, followed by its tracks ever after."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from object_adjustment import Chain, adjust
from object_points import Array, Fit, Flags, judge, solve, triangulate

from egoworld_runner import Clip, Inputs, Params, Runner, tables
from egoworld_runner.lenses import Lens, lens_of_row

TRACK = ("track_id", "frame", "x", "y", "visible", "obj_id", "label")
FIRST_OBJECT = 3
STILL_SHARE = 0.8
STILL_LIMIT = 0.25
STILL_STEP_S = 0.2
ROUNDS = (3.0, 1.0, 0.33, 0.33)
LEARN_EVERY = 4
MOST_ADJUSTED = 200
WITHHELD = {
    tables.ROTATION: "the camera only turns and shows no parallax",
    tables.STATIC: "the camera stands still and shows no parallax",
}


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
        seen = (pc.field("obj_id") >= FIRST_OBJECT) & pc.field("visible")
        tracks = inputs.table("tracks", columns=TRACK).filter(seen)
        named = tracks.group_by(["obj_id", "label"]).aggregate([])
        objects = dict(sorted(zip(named["obj_id"].to_pylist(), named["label"].to_pylist(), strict=True)))
        clip.note("objects", len(objects))
        if not camera.registered.any():
            clip.nothing(f"{camera.missing}, so no size or place is known")
            return
        if not objects:
            clip.nothing("no object was handled")
        rows: list[tables.ObjectPose] = []
        for obj_id, label in objects.items():
            seen = camera.seen(tracks.filter(pc.field("obj_id") == obj_id), clip)
            body = Body(seen, camera, clip.fps, params)
            for frame, fit in sorted(body.follow().items()):
                pose = fit.pose @ body.frame
                rows.append(tables.ObjectPose(clip.start_frame + frame, obj_id, label, pose, fit.share))
            clip.note(f"points_of_{obj_id}", int(body.known.sum()))
            if body.trouble:
                clip.note(f"reason_of_{obj_id}", body.trouble)
        clip.note("posed", len(rows))
        if objects and not rows:
            clip.nothing("no fit of an object's pose can be trusted")
        yield from sorted(rows, key=lambda row: (row.frame, row.obj_id))
        clip.progress(clip.end_frame - 1)


@dataclass(frozen=True)
class Cameras:
    """T_camera_world [n, 4, 4] of every frame of a clip, which are registered as those of a moving camera [n], and the
    lens that they share; missing: why none is.
    """

    poses: Array
    registered: Flags
    lens: Lens
    missing: str = "no frame of the camera's trajectory is registered"

    @classmethod
    def read(cls, rows: list[dict[str, Any]], clip: Clip) -> Cameras:
        poses, registered = np.tile(np.eye(4), (len(clip), 1, 1)), np.zeros(len(clip), np.bool_)
        for row in rows:
            at = row["frame"] - clip.start_frame
            poses[at] = np.linalg.inv(np.reshape(row["T_world_camera"], (4, 4)))
            registered[at] = row["registered"] and row["kind"] == tables.MOVING
        seen = next((row for row in rows if row["intrinsics"] is not None), None)
        if seen is None or not registered.any():
            kinds = {row["kind"] for row in rows if row["registered"]}
            missing = next((why for kind, why in WITHHELD.items() if kind in kinds), cls.missing)
            return cls(poses, np.zeros_like(registered), Lens("PINHOLE", (1.0, 1.0, 0.0, 0.0)), missing)
        return cls(poses, registered, lens_of_row(seen))

    @property
    def focal(self) -> float:
        """Mean focal length, px."""
        return float(np.mean(self.lens.intrinsics[:2]))

    def seen(self, tracks: pa.Table, clip: Clip) -> Array:
        """Where each track was seen in each frame of the clip, normalised [m, n, 2], NaN where not."""
        numbers, order = np.unique(tracks["track_id"].to_numpy(), return_inverse=True)
        seen = np.full((len(numbers), len(clip), 2), np.nan)
        pixels = np.stack([tracks["x"].to_numpy(), tracks["y"].to_numpy()], axis=1)
        seen[order, tracks["frame"].to_numpy() - clip.start_frame] = self.lens.normalised(pixels)
        return seen


@dataclass(frozen=True)
class Trust:
    """When a fit is trusted. limit: normalised error of a point that agrees; turn (rad) and move (depths) a frame."""

    fps: float
    limit: float
    least: int
    share: float
    uncertain: float
    turn: float
    move: float

    @classmethod
    def of(cls, params: Mapping[str, Any], focal: float, fps: float) -> Trust:
        return cls(
            fps=fps,
            limit=float(params["max_error_px"]) / focal,
            least=int(params["min_points"]),
            share=float(params["min_share"]),
            uncertain=float(np.radians(params["max_uncertain_deg"])) * focal,
            turn=float(np.radians(params["max_turn_deg_s"])) / fps,
            move=float(params["max_move_s"]) / fps,
        )

    def holds(self, fit: Fit) -> bool:
        """Enough points agree, and they lie so that a pixel's error would not turn the object far."""
        return fit.agreeing >= self.least and fit.share >= self.share and fit.turn_per_error <= self.uncertain

    def can_follow(self, before: Array, now: Array, middle: Array, gap: int) -> bool:
        """Whether a body can have moved so within ``gap`` frames; ``middle`` [3]: a point of it."""
        change = now[:3, :3] @ before[:3, :3].T
        turn = float(np.arccos(np.clip((np.trace(change) - 1) / 2, -1, 1)))
        was, is_now = (pose[:3, :3] @ middle + pose[:3, 3] for pose in (before, now))
        return turn <= gap * self.turn and float(np.linalg.norm(is_now - was)) <= gap * self.move * abs(float(was[2]))


class Body:
    """One object: its tracks ``seen`` [m, n, 2], its points as far as they are ``known`` [m], its poses by frame.

    Until ``frame`` is read, the object's frame is the world's, taken while the object lay still.
    """

    def __init__(self, seen: Array, camera: Cameras, fps: float, params: Mapping[str, Any]) -> None:
        self._seen, self._camera = seen, camera
        self._trust = Trust.of(params, camera.focal, fps or 30.0)
        self._angle = np.radians(float(params["min_angle_deg"]))
        self.points = np.zeros((len(seen), 3))
        self.known: Flags = np.zeros(len(seen), np.bool_)
        self.trouble = ""

    @property
    def frame(self) -> Array:
        """T_world_object [4, 4] while it lay still: the world's axes at the centroid of the points."""
        out = np.eye(4)
        out[:3, 3] = self.points[self.known].mean(axis=0)
        return out

    def follow(self) -> dict[int, Fit]:
        """The trusted fit of every frame that has one, by frame of the clip."""
        rests = self._rests()
        if not rests:
            self.trouble = "it never lies still long enough, with enough tracked points, for its size to be measured"
            return {}
        still = rests[0]
        poses = {at: self._camera.poses[at] for at in still if self._camera.registered[at]}
        self._learn(np.arange(len(self._seen)), poses)
        self._chain(range(still.stop, self._seen.shape[1]), poses)
        self._chain(range(still.start - 1, -1, -1), poses)
        for strictness in ROUNDS:
            self._learn(np.arange(len(self._seen)), poses)
            poses = self._adjusted(poses, rests, strictness * self._trust.limit)
        fits = {at: self._judged(at, pose) for at, pose in poses.items()}
        return {at: fit for at, fit in fits.items() if self._trust.holds(fit)}

    def _rests(self) -> list[range]:
        """Frames in which most points can be triangulated by the camera's motion alone, the best such range first.

        A range grows while what is seen in its newest frames fits points that do not move; then the next one begins. A
        step is cut off where motion may begin slowly.
        """
        step = max(2, round(STILL_STEP_S * self._trust.fps))
        count = self._seen.shape[1]
        found: list[tuple[int, range]] = []
        start = 0
        while start < count - 1:
            good, end = 0, start + 1
            for longer in range(start + step, count + step, step):
                points = self._points_at_rest(start, min(longer, count), end)
                if points is None:
                    break
                good, end = points, min(longer, count)
            first, last = start + step * (start > 0), end - step * (end < count)
            if good >= self._trust.least and last - first > step:
                found.append((good, range(first, last)))
            start = end if end > start + 1 else start + max(1, step // 2)
        return [still for _, still in sorted(found, key=lambda entry: (-entry[0], entry[1].start))]

    def _points_at_rest(self, start: int, end: int, newest: int) -> int | None:
        """How many points the camera's motion triangulates; None when from ``newest`` on they do not stay in place."""
        frames = np.flatnonzero(self._camera.registered[start:end]) + start
        seen = self._seen[:, frames]
        seen = seen[np.isfinite(seen[..., 0]).sum(axis=1) >= 2]
        if len(frames) < 2 or len(seen) < self._trust.least:
            return None
        found = triangulate(self._camera.poses[frames], seen, STILL_LIMIT * self._trust.limit)
        late = frames >= newest
        if found.agree[:, late].sum() < STILL_SHARE * found.used[:, late].sum():
            return None
        return int(((found.angle > self._angle) & (found.agree.sum(axis=1) >= 3)).sum())

    def _learn(self, tracks: NDArray[np.int64], poses: Mapping[int, Array]) -> None:
        """Triangulate tracks in the object's frame from the frames that have a pose."""
        frames = np.array(sorted(poses))
        known = np.array([poses[at] for at in frames])
        found = triangulate(known, self._seen[np.ix_(tracks, frames)], self._trust.limit)
        agreeing, seen = found.agree.sum(axis=1), found.used.sum(axis=1)
        good = (found.angle > self._angle) & (agreeing >= 3) & (agreeing >= 0.6 * seen)
        self.points[tracks[good]] = found.points[good]
        self.known[tracks] = good

    def _chain(self, frames: range, poses: dict[int, Array]) -> None:
        """Frame after frame from a known one; new tracks get their points on the way."""
        near, gap = poses.get(frames.start - frames.step), 1
        for count, at in enumerate(frames):
            fit = self._fit(at, near, gap)
            gap = gap + 1 if fit is None else 1
            if fit is None:
                continue
            poses[at] = near = fit.pose
            fresh = np.flatnonzero(np.isfinite(self._seen[:, at, 0]) & ~self.known)
            if count % LEARN_EVERY == 0 and len(fresh):
                self._learn(fresh, poses)

    def _fit(self, at: int, near: Array | None, gap: int) -> Fit | None:
        """The fit of one frame, None when it is not trusted; ``near``: the pose of a frame ``gap`` frames away."""
        there = self.known & np.isfinite(self._seen[:, at, 0])
        if there.sum() < self._trust.least:
            return None
        fit = solve(self.points[there], self._seen[there, at], near, self._trust.limit)
        if fit is None or not self._trust.holds(fit):
            return None
        middle = self.points[there].mean(axis=0)
        return fit if near is None or self._trust.can_follow(near, fit.pose, middle, gap) else None

    def _judged(self, at: int, pose: Array) -> Fit:
        there = self.known & np.isfinite(self._seen[:, at, 0])
        return judge(self.points[there], self._seen[there, at], pose, self._trust.limit)

    def _adjusted(self, poses: Mapping[int, Array], rests: list[range], limit: float) -> dict[int, Array]:
        """The poses after bundle adjustment; of a long clip, evenly chosen frames are adjusted and the others refitted.

        Every frame in which the object rests gets a pose from the camera's, if any other frame links that rest.
        """
        frames = sorted(poses)
        chosen = frames[:: -(-len(frames) // MOST_ADJUSTED)]
        outer = np.tile(np.eye(4), (len(chosen), 1, 1))
        place, places = np.zeros(len(chosen), np.int64), [np.eye(4)]
        home: dict[range, int] = {rests[0]: 0}
        middle = (rests[0].start + rests[0].stop) / 2
        for count in sorted(range(len(chosen)), key=lambda count: abs(chosen[count] - middle)):
            at = chosen[count]
            still = next((rest for rest in rests if at in rest and self._camera.registered[at]), None)
            if still is not None:
                outer[count] = self._camera.poses[at]
            if still is None or still not in home:
                places.append(np.linalg.inv(outer[count]) @ poses[at])
            place[count] = len(places) - 1 if still is None else home.setdefault(still, len(places) - 1)
        chain = Chain(outer, place, np.array(places))
        seen = self._seen[np.ix_(np.flatnonzero(self.known), np.array(chosen))]
        chain, points = adjust(chain, self.points[self.known], seen, limit)
        self.points[self.known] = points
        out = dict(zip(chosen, chain.poses, strict=True))
        for still, number in home.items():
            there = (at for at in still if self._camera.registered[at])
            out.update((at, self._camera.poses[at] @ chain.places[number]) for at in there)
        for at in frames:
            if at not in out and (fit := self._fit(at, poses[at], 1)) is not None:
                out[at] = fit.pose
        return out
