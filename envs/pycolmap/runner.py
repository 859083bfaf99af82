"""Stage reconstructions: camera trajectory, intrinsics and points by COLMAP's SIFT pipeline on the CPU."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np
import pycolmap
from motion import Motion, keyframes, measure
from registration import Trust, register
from sfm import Keyframe, Sift, reconstruct
from static_world import StaticWorld
from world import Lens, lens_of, normalise, write_files

from egoworld_runner import Clip, ClipFailed, Inputs, Params, Runner, tables

IDENTITY = np.eye(4)
LEAST_TEXTURED = 0.25


class SiftReconstruction(Runner):
    """One camera pose per frame: keyframes by incremental structure from motion, the others by PnP on its points.

    The world is the first registered camera's frame; pictures alone give no metres, so the scale makes the median
    depth of the observed points 1. Nothing is interpolated: a frame that cannot be registered says so, and a camera
    that stands still has no registered frame and the note ``camera = "static"``.
    Files: points.ply, intrinsics.json. Schonberger and Frahm, Structure-from-Motion Revisited, 2016.
    """

    writes = (tables.CameraPose,)

    def setup(self, weights: Mapping[str, Path], device: str) -> None:
        pycolmap.logging.minloglevel = pycolmap.logging.Level.ERROR.value
        cv2.setNumThreads(1)

    def run(self, clip: Clip, inputs: Inputs, params: Params) -> Iterator[tables.Row]:
        world = StaticWorld(clip, inputs.rows("masks"), int(params["work_side"]), int(params["mask_margin_px"]))
        step = float(params["step"]) * max(world.size)
        motion = measure(world.views(), step, lambda frame: _third(clip, frame, 0))
        clip.note("travelled_px", round(float(motion.travelled[-1]), 3))
        trouble = _hopeless(motion, float(params["static_px"]))
        model, found = None, list[Keyframe]()
        if not trouble:
            chosen = set(keyframes(motion, step, int(params["max_gap"]), int(params["max_frames"])))
            model, found = self._map(clip, world, chosen, params)
            clip.note("keyframes", len(found))
            if model is None:
                trouble = "no two keyframes show enough parallax on enough points"
        clip.note("camera", "static" if trouble.startswith("static") else "moving")
        if model is None:
            clip.note("registered", 0)
            clip.note("reason", trouble)
            yield from _unregistered(clip, _guess(clip, params))
            return
        yield from self._rows(clip, world, model, found, params)

    def _map(
        self, clip: Clip, world: StaticWorld, chosen: set[int], params: Params
    ) -> tuple[pycolmap.Reconstruction | None, list[Keyframe]]:
        sift = Sift(int(params["max_features"]))
        found: list[Keyframe] = []
        for view in world.views():
            if view.frame in chosen:
                found.append(sift.keyframe(view))
            _third(clip, view.frame, 1)
        with tempfile.TemporaryDirectory(prefix="egoworld-sfm-") as scratch:
            camera, factor = str(params["camera_model"]), float(params["focal_factor"])
            model = reconstruct(found, world.size, camera, factor, Path(scratch))
        if model is not None:
            normalise(model)
        return model, found

    def _rows(
        self, clip: Clip, world: StaticWorld, model: pycolmap.Reconstruction, found: list[Keyframe], params: Params
    ) -> Iterator[tables.Row]:
        lens = lens_of(next(iter(model.cameras.values())), world.scale)
        write_files(clip.folder, model, found, lens, (clip.width, clip.height))
        trust = Trust(int(params["reach"]), float(params["max_error_px"]), int(params["min_inliers"]))
        registered = 0
        for frame, cam_from_world in register(world.views(), model, trust):
            pose = IDENTITY
            if cam_from_world is not None:
                registered += 1
                pose = np.vstack([cam_from_world.inverse().matrix(), IDENTITY[3]])
            yield tables.CameraPose(frame, pose, cam_from_world is not None, lens.intrinsics, lens.distortion)
            _third(clip, frame, 2)
        clip.note("registered", registered)
        clip.note("registered_keyframes", model.num_reg_images())
        clip.note("points", model.num_points3D())
        clip.note("mean_reprojection_error_px", round(model.compute_mean_reprojection_error(), 4))
        clip.note("focal_px", round(lens.intrinsics[0], 3))


def _third(clip: Clip, frame: int, part: int) -> None:
    """Three passes over the clip are one progress."""
    clip.progress(clip.start_frame + (part * len(clip) + frame - clip.start_frame) // 3)


def _hopeless(motion: Motion, static_px: float) -> str:
    """Why no reconstruction is tried, or nothing."""
    if len(motion.frames) < 3:
        raise ClipFailed(
            f"the clip has {len(motion.frames)} frames; a reconstruction needs 3 or more, so join it to another"
        )
    if motion.textured < LEAST_TEXTURED:
        raise ClipFailed(
            "the part of the picture that does not move is too plain to follow; film with more light or more of the "
            "surroundings in view, or check that masks do not cover everything"
        )
    if motion.travelled[-1] < static_px:
        return f"static camera: the surroundings move by {motion.travelled[-1]:.2f} px in {len(motion.frames)} frames"
    return ""


def _guess(clip: Clip, params: Params) -> Lens:
    """The intrinsics that nothing has refined: the first guess of the focal length, centre of the picture."""
    focal = float(params["focal_factor"]) * max(clip.width, clip.height)
    return Lens((focal, focal, (clip.width - 1) / 2, (clip.height - 1) / 2), (0.0, 0.0, 0.0, 0.0))


def _unregistered(clip: Clip, lens: Lens) -> Iterator[tables.CameraPose]:
    for frame in range(clip.start_frame, clip.end_frame):
        yield tables.CameraPose(
            frame=frame,
            T_world_camera=IDENTITY,
            registered=False,
            intrinsics=lens.intrinsics,
            distortion=lens.distortion,
        )
