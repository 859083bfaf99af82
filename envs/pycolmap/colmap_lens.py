"""Lenses of the contract as COLMAP's cameras, and back. COLMAP counts pixels from the picture's corner."""

from __future__ import annotations

import numpy as np
import pycolmap
from numpy.typing import NDArray

from egoworld_runner import ClipFailed
from egoworld_runner.lenses import PARAMETERS, Lens
from egoworld_runner.pixels import from_corner, to_corner

COLMAPS = {"FISHEYE624": "RAD_TAN_THIN_PRISM_FISHEYE"}
"""COLMAP's names where they are not the contract's."""
ONE_FOCAL = ("SIMPLE_RADIAL", "RADIAL")
"""Models of COLMAP with one focal length for both axes."""


def first_guess(model: str, focal: float, size: tuple[int, int]) -> pycolmap.Camera:
    """A camera to refine: ``focal`` px, centre of the picture, no distortion. Raises ClipFailed for another model."""
    if model not in PARAMETERS:
        raise ClipFailed(f"params.reconstructions.camera_model is {model!r}; valid: {', '.join(PARAMETERS)}")
    return pycolmap.Camera.create_from_model_name(1, COLMAPS.get(model, model), focal, *size)


def known_camera(lens: Lens, size: tuple[int, int]) -> pycolmap.Camera:
    """The camera of a lens that is known, for pictures of ``size`` px: its focal length is marked as given."""
    model, distortion = lens.model, lens.distortion
    if model in ONE_FOCAL and lens.intrinsics[0] != lens.intrinsics[1]:
        model, distortion = "OPENCV", (*distortion, 0.0, 0.0, 0.0)[:4]
    camera = first_guess(model, lens.intrinsics[0], size)
    centre = to_corner(np.array(lens.intrinsics[2:]))
    focal = lens.intrinsics[:1] if model in ONE_FOCAL else lens.intrinsics[:2]
    camera.params = np.array([*focal, *centre, *distortion])
    camera.has_prior_focal_length = True
    return camera


def lens_of(camera: pycolmap.Camera, scale: NDArray[np.float64]) -> Lens:
    """The camera's lens at the video's own size; ``scale`` [2]: working px per px."""
    names = {name: model for model, name in COLMAPS.items()}
    model = names.get(camera.model_name, camera.model_name)
    values = list(map(float, camera.params))
    if model in ONE_FOCAL:
        values.insert(1, values[0])
    focal, centre = np.array(values[:2]) / scale, from_corner(np.array(values[2:4]) / scale)
    numbers = (float(focal[0]), float(focal[1]), float(centre[0]), float(centre[1]))
    return Lens(model, numbers, tuple(values[4:]))
