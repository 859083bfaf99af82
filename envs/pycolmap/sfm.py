"""Structure from motion on keyframes: SIFT, matching, verification and mapping by COLMAP.

Everything runs on one thread with fixed seeds, because the order in which threads finish would decide the last bits.
COLMAP counts pixels from the picture's corner.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap
from numpy.typing import NDArray
from static_world import View, inside

from egoworld_runner.pixels import from_corner

SEED = 1
OFFSETS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
ALL_PAIRS_UP_TO = 12
MAX_RATIO = 0.8
MAX_ANGLE = 0.7
SIFT_NORM = 512.0
ENOUGH_KEYPOINTS = 300
ENOUGH_REGISTERED = 0.8
PLAUSIBLE_FOCAL = (0.3, 4.0)
PLAUSIBLE_DISTORTION = 0.6
FEWEST_POINTS = 50


@dataclass(frozen=True)
class Keyframe:
    """The SIFT keypoints of one keyframe: [n, 4 or 6] in COLMAP's pixels, descriptors uint8 [n, 128], RGB [n, 3]."""

    frame: int
    keypoints: NDArray[np.float32]
    descriptors: NDArray[np.uint8]
    colours: NDArray[np.uint8]

    @property
    def name(self) -> str:
        return f"{self.frame:09d}"


class Sift:
    """COLMAP's SIFT on the CPU.

    Its up-sampled first octave takes four times as long for no better trajectory, so it is left out where the picture
    has keypoints enough without it.
    """

    def __init__(self, max_features: int) -> None:
        self._extractors: list[Any] = []
        for first_octave in (0, -1):
            options = pycolmap.FeatureExtractionOptions()
            options.type = pycolmap.FeatureExtractorType.SIFT  # the learned ones abort the process without their model
            options.num_threads, options.use_gpu = 1, False
            options.sift.first_octave, options.sift.max_num_features = first_octave, max_features
            self._extractors.append(pycolmap.FeatureExtractor.create(options, pycolmap.Device.cpu))

    def keyframe(self, view: View) -> Keyframe:
        """Keypoints of a view that lie on the static world."""
        plain, upsampled = self._extractors
        keyframe = self._extract(plain, view)
        return keyframe if len(keyframe.keypoints) >= ENOUGH_KEYPOINTS else self._extract(upsampled, view)

    @staticmethod
    def _extract(extractor: Any, view: View) -> Keyframe:
        found, described = extractor.extract_from_uint8_array(view.grey)
        keypoints = np.asarray(pycolmap.keypoints_to_matrix(found), np.float32)
        descriptors = np.asarray(described.data, np.uint8)
        if not len(keypoints):
            empty = np.zeros((0, 3), np.uint8)
            return Keyframe(view.frame, np.zeros((0, 4), np.float32), np.zeros((0, 128), np.uint8), empty)
        keep = inside(view.static, from_corner(keypoints[:, :2]))
        keypoints, descriptors = keypoints[keep], descriptors[keep]
        at = np.clip(keypoints[:, :2].astype(int), 0, [view.grey.shape[1] - 1, view.grey.shape[0] - 1])
        return Keyframe(view.frame, keypoints, descriptors, view.rgb[at[:, 1], at[:, 0]])


def match(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Mutual nearest neighbours that pass Lowe's ratio test: pairs of indices [m, 2].

    Descriptors are whole numbers up to 255, so their products are exact in float32 and the same on every machine.
    """
    if len(a) < 2 or len(b) < 2:
        return np.zeros((0, 2), np.uint32)
    alike = a @ b.T
    rows = np.arange(len(a))
    best, back = alike.argmax(axis=1), alike.argmax(axis=0)
    first = alike[rows, best]
    alike[rows, best] = -1.0
    second = alike.max(axis=1)
    angle, next_angle = (np.arccos(np.clip(x / SIFT_NORM**2, -1.0, 1.0)) for x in (first, second))
    keep = (angle < MAX_ANGLE) & (angle < MAX_RATIO * next_angle) & (back[best] == rows)
    return np.stack([rows[keep], best[keep]], axis=1).astype(np.uint32)


def pairs_of(count: int) -> list[tuple[int, int]]:
    """All pairs of a few keyframes; of many, those at the distances of OFFSETS."""
    if count <= ALL_PAIRS_UP_TO:
        return list(combinations(range(count), 2))
    return [(a, a + offset) for a in range(count) for offset in OFFSETS if a + offset < count]


def matches_of(keyframes: list[Keyframe]) -> dict[tuple[int, int], NDArray[np.uint32]]:
    """Matches [m, 2] by pair of places in the list."""
    floats = [keyframe.descriptors.astype(np.float32) for keyframe in keyframes]
    return {(a, b): match(floats[a], floats[b]) for a, b in pairs_of(len(keyframes))}


def reconstruct(
    keyframes: list[Keyframe],
    matches: Mapping[tuple[int, int], NDArray[np.uint32]],
    camera: pycolmap.Camera,
    scratch: Path,
) -> pycolmap.Reconstruction | None:
    """The model that holds the most keyframes, or None when none is plausible.

    Images are named like their keyframes. ``camera``: one whose focal length is a prior is known and stays; of any
    other the parameters are a first guess. Global mapping comes first: it is steadier than incremental mapping when
    the first pairs have little parallax. Pan et al., Global Structure-from-Motion Revisited, 2024.
    """
    database = scratch / "features.db"
    _write(database, keyframes, matches, camera)
    listing = scratch / "pairs.txt"
    listing.write_text("".join(f"{keyframes[a].name} {keyframes[b].name}\n" for a, b in matches), encoding="ascii")
    verification = pycolmap.TwoViewGeometryOptions()
    verification.ransac.random_seed, verification.ransac.num_threads = SEED, 1
    pycolmap.verify_matches(database, listing, verification)
    known = camera.has_prior_focal_length
    best: pycolmap.Reconstruction | None = None
    for mapping in (_global, _incremental):
        for model in mapping(database, scratch, known).values():
            good = enough(model) and (known or plausible(next(iter(model.cameras.values()))))
            if good and (best is None or model.num_reg_images() > best.num_reg_images()):
                best = model
        if best is not None and best.num_reg_images() >= ENOUGH_REGISTERED * len(keyframes):
            break
    return best


def adjust(model: pycolmap.Reconstruction, camera: pycolmap.Camera) -> None:
    """Give a model another lens and let poses and points follow; the lens stays."""
    next(iter(model.cameras.values())).params = camera.params
    options = pycolmap.BundleAdjustmentOptions()
    options.refine_focal_length = options.refine_extra_params = options.refine_principal_point = False
    options.print_summary = False
    options.ceres.loss_function_type = pycolmap.LossFunctionType.HUBER
    options.ceres.solver_options.num_threads = 1
    pycolmap.bundle_adjustment(model, options)


def enough(model: pycolmap.Reconstruction) -> bool:
    """Whether a model has images and points enough to be one."""
    return model.num_reg_images() >= 2 and model.num_points3D() >= FEWEST_POINTS


def plausible(camera: pycolmap.Camera) -> bool:
    """Whether a lens that was found can exist: without parallax it goes astray together with the poses."""
    focal = camera.mean_focal_length() / max(camera.width, camera.height)
    extra = [abs(camera.params[index]) for index in camera.extra_params_idxs()]
    return PLAUSIBLE_FOCAL[0] <= focal <= PLAUSIBLE_FOCAL[1] and max(extra, default=0.0) <= PLAUSIBLE_DISTORTION


def _global(database: Path, scratch: Path, known: bool) -> dict[int, pycolmap.Reconstruction]:
    options = pycolmap.GlobalPipelineOptions()
    options.num_threads, options.random_seed = 1, SEED
    if known:
        adjustment = options.mapper.bundle_adjustment
        adjustment.refine_focal_length = adjustment.refine_extra_params = False
    return pycolmap.global_mapping(database, scratch, scratch, options)


def _incremental(database: Path, scratch: Path, known: bool) -> dict[int, pycolmap.Reconstruction]:
    options = pycolmap.IncrementalPipelineOptions()
    options.num_threads = options.mapper.num_threads = 1
    options.random_seed = options.mapper.random_seed = options.triangulation.random_seed = SEED
    options.extract_colors = False
    options.min_model_size, options.max_num_models = 3, 3
    if known:
        options.ba_refine_focal_length = options.ba_refine_extra_params = False
    return pycolmap.incremental_mapping(database, scratch, scratch, options)


def _write(
    database: Path,
    keyframes: list[Keyframe],
    matches: Mapping[tuple[int, int], NDArray[np.uint32]],
    camera: pycolmap.Camera,
) -> None:
    with pycolmap.Database.open(database) as db:
        sensor = pycolmap.sensor_t(pycolmap.SensorType.CAMERA, db.write_camera(camera))
        rig = pycolmap.Rig()
        rig.add_ref_sensor(sensor)
        rig_id = db.write_rig(rig)
        ids: list[int] = []
        for keyframe in keyframes:
            image_id = db.write_image(pycolmap.Image(name=keyframe.name, camera_id=sensor.id))
            frame = pycolmap.Frame()
            frame.rig_id = rig_id
            frame.add_data_id(pycolmap.data_t(sensor, image_id))
            db.write_frame(frame)
            db.write_keypoints(image_id, keyframe.keypoints)
            ids.append(image_id)
        for (a, b), found in matches.items():
            db.write_matches(ids[a], ids[b], found)
