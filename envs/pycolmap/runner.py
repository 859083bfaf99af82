"""Stage reconstructions: camera trajectory, lens and points by COLMAP's SIFT pipeline on the CPU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
import pycolmap
from numpy.typing import NDArray
from registration import Trust, register
from rotation import turned
from static_world import StaticWorld
from survey import Survey, relensed, shared, survey
from world import write_lens, write_points

from egoworld_runner import Clip, ClipFailed, Inputs, Params, Runner, tables
from egoworld_runner.annotations.lens import given_lens
from egoworld_runner.camera_paths import MOST_TREMBLE, tremble
from egoworld_runner.lenses import BadLens, Lens, parse
from egoworld_runner.tables import MOVING, ROTATION, STATIC

IDENTITY = np.eye(4)
MOST_SHARED = 6
"""Clips of a video whose lenses are compared, the longest ones; the others get the lens that these have."""
FILM_MM = 43.27
"""Diagonal of the film that focal lengths are compared on."""
Pose = NDArray[np.float64]


@dataclass
class OfVideo:
    """The lens of one video's camera, as its clips show it, and what was seen of them on the way, by clip id."""

    video: str
    lens: Lens | None = None
    surveys: dict[str, Survey] = field(default_factory=dict[str, Survey])


class SiftReconstruction(Runner):
    """One camera pose per frame: keyframes by structure from motion, the others by PnP on its points.

    The world is the first registered camera's frame; pictures alone give no metres, so the scale makes the median
    depth of the observed points 1. Nothing is interpolated or invented: a frame that cannot be registered says so; a
    camera that only turns has rotations (kind ``rotation``), one that stands still has one pose (``static``).
    Files: points.ply, intrinsics.json. Schonberger and Frahm, Structure-from-Motion Revisited, 2016.
    """

    writes = (tables.CameraPose,)

    def setup(self, weights: Mapping[str, Path], device: str) -> None:
        pycolmap.logging.minloglevel = pycolmap.logging.Level.ERROR.value
        cv2.setNumThreads(1)
        self._video = OfVideo("")

    def run(self, clip: Clip, inputs: Inputs, params: Params) -> Iterator[tables.Row]:
        lens = known_lens(clip, inputs, params)
        world = _world(clip, inputs, params)
        if lens is None:
            made = self._with_shared_lens(clip, inputs, params)
        else:
            made = _survey(clip, inputs, params, lens, clip)
        clip.note("travelled_px", round(float(made.motion.travelled[-1]), 3))
        clip.note("keyframes", len(made.found))
        clip.note("lens", "given" if lens else "found" if made.lens else "not known")
        if made.parallax:
            clip.note("homography_share", round(made.parallax.homography, 4))
        poses = dict(_poses(clip, world, made, params))
        places = np.array([pose[:3, 3] for pose in poses.values() if pose is not None]).reshape(-1, 3)
        if made.kind == MOVING and (shaking := tremble(places)) > MOST_TREMBLE:
            made.kind, made.model, made.lens = "", None, lens
            made.reason = f"the reconstruction trembles: its speed changes by {shaking:.1f} times itself a frame"
            poses = dict.fromkeys(poses)
        _notes(clip, made, sum(pose is not None for pose in poses.values()))
        if made.model:
            write_points(clip.folder, made.model, made.found)
        if made.lens:
            write_lens(clip.folder, made.lens, (clip.width, clip.height))
        yield from _rows(poses, made)

    def _with_shared_lens(self, clip: Clip, inputs: Inputs, params: Params) -> Survey:
        """The survey of a clip under the lens of all clips of its video."""
        if self._video.video != clip.video:
            self._video = _compare(clip, inputs, params)
        lens, made = self._video.lens, self._video.surveys.pop(clip.clip_id, None)
        if made is None:
            return _survey(clip, inputs, params, lens, clip)
        return relensed(made, _world(clip, inputs, params), lens) if lens else made


def _compare(clip: Clip, inputs: Inputs, params: Params) -> OfVideo:
    """What the longest clips of a video show of its lens. It is the same whichever of the clips is asked first."""
    spans = inputs.of_video().rows("clips") if inputs.has("clips") else []
    spans = spans or [{"clip_id": clip.clip_id, "start_frame": clip.start_frame, "end_frame": clip.end_frame}]
    out = OfVideo(clip.video)
    for row in sorted(spans, key=lambda row: (row["start_frame"] - row["end_frame"], row["start_frame"]))[:MOST_SHARED]:
        one = replace(clip, start_frame=row["start_frame"], end_frame=row["end_frame"], notes={})
        with suppress(ClipFailed):  # said of that clip when it is its turn
            out.surveys[row["clip_id"]] = _survey(one, inputs.of_clip(row["clip_id"]), params, None, clip)
    out.lens = shared(list(out.surveys.values()))
    return out


def first_focal(clip: Clip, inputs: Inputs, params: Params) -> float:
    """A first guess of the focal length in long sides: what the file says of its lens, else the parameter."""
    rows = inputs.of_video().rows("videos") if inputs.has("videos") else []
    stated = rows[0]["focal_35mm"] if rows else None
    diagonal = float(np.hypot(clip.width, clip.height))
    return stated / FILM_MM * diagonal / max(clip.width, clip.height) if stated else float(params["focal_factor"])


def known_lens(clip: Clip, inputs: Inputs, params: Params) -> Lens | None:
    """The lens that was given for this video, else by the configuration for its camera; None when there is none.

    Raises ClipFailed for one that cannot be used.
    """
    if (own := given_lens(clip, inputs)) is not None:
        return own
    lenses = params["lenses"]
    rows = inputs.of_video().rows("videos") if inputs.has("videos") else []
    name = rows[0]["camera"] if rows else ""
    where = f'params.reconstructions.lenses."{name}"'
    facts = lenses.get(name) if isinstance(lenses, Mapping) and name else None
    if not isinstance(lenses, Mapping):
        raise ClipFailed("params.reconstructions.lenses must be a table with one table a camera")
    try:
        return parse(facts, clip.width, clip.height) if facts is not None else None
    except BadLens as error:
        raise ClipFailed(f"{where} in egoworld.toml: {error}") from error


def _world(clip: Clip, inputs: Inputs, params: Params) -> StaticWorld:
    masks = inputs.rows("masks") if inputs.has("masks") else []
    return StaticWorld(clip, masks, int(params["work_side"]), int(params["mask_margin_px"]))


def _survey(clip: Clip, inputs: Inputs, params: Params, lens: Lens | None, shown: Clip) -> Survey:
    """A survey whose progress counts for the clip ``shown``: three passes over it are one progress."""

    def progress(frame: int, part: int) -> None:
        done = (frame - clip.start_frame) / max(1, len(clip))
        shown.progress(shown.start_frame + int((part + done) / 3 * (len(shown) - 1)))

    return survey(_world(clip, inputs, params), lens, first_focal(clip, inputs, params), params, progress)


def _poses(clip: Clip, world: StaticWorld, made: Survey, params: Params) -> Iterator[tuple[int, Pose | None]]:
    """T_world_camera [4, 4] of every frame, None where it is not known."""
    most, fewest = float(params["max_error_px"]), int(params["min_inliers"])
    if made.kind == MOVING and made.model:
        for frame, cam_from_world in register(world.views(), made.model, Trust(int(params["reach"]), most, fewest)):
            yield frame, cam_from_world and np.vstack([cam_from_world.inverse().matrix(), IDENTITY[3]])
            clip.progress(clip.start_frame + (2 * len(clip) + frame - clip.start_frame) // 3)
    elif made.kind == ROTATION and made.turn:
        for frame, rotation in turned(world.views(), made.turn, most, fewest):
            pose = IDENTITY.copy()
            if rotation is not None:
                pose[:3, :3] = rotation
            yield frame, pose if rotation is not None else None
            clip.progress(clip.start_frame + (2 * len(clip) + frame - clip.start_frame) // 3)
    else:
        for frame in range(clip.start_frame, clip.end_frame):
            yield frame, IDENTITY if made.kind == STATIC else None


def _rows(poses: Mapping[int, Pose | None], made: Survey) -> Iterator[tables.CameraPose]:
    model, intrinsics, distortion = None, None, ()
    if made.lens:
        model, intrinsics, distortion = made.lens.model, made.lens.intrinsics, made.lens.distortion
    for frame, pose in poses.items():
        yield tables.CameraPose(
            frame=frame,
            T_world_camera=IDENTITY if pose is None else pose,
            registered=pose is not None,
            kind=made.kind if pose is not None else "",
            camera_model=model,
            intrinsics=intrinsics,
            distortion=distortion,
        )


def _notes(clip: Clip, made: Survey, registered: int) -> None:
    clip.note("camera", made.kind or "unknown")
    clip.note("registered", registered)
    if not registered:
        clip.nothing(made.reason or "no frame agrees with the reconstruction")
    elif made.reason:
        clip.note("reason", made.reason)
    if made.model:
        clip.note("registered_keyframes", made.model.num_reg_images())
        clip.note("points", made.model.num_points3D())
        clip.note("mean_reprojection_error_px", round(made.model.compute_mean_reprojection_error(), 4))
    if made.turn:
        clip.note("turn_agrees", round(made.turn.agree, 4))
    if made.lens:
        clip.note("focal_px", round(made.lens.intrinsics[0], 3))
