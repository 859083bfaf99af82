"""Poses of the frames between keyframes: reconstructed points are followed from the keyframes, then PnP."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pycolmap
from motion import follow
from numpy.typing import NDArray
from sfm import SEED
from static_world import View, inside
from world import observed

from egoworld_runner.pixels import from_corner, to_corner


@dataclass(frozen=True)
class Trust:
    """When a followed frame counts as registered."""

    reach: int
    max_error_px: float
    min_inliers: int
    min_share: float = 0.5


@dataclass
class Sight:
    """Reconstructed points as one registered keyframe sees them, and where they were last found, px [n, 2]."""

    grey: NDArray[np.uint8]
    xyz: NDArray[np.float64]
    at: NDArray[np.float32]
    last: NDArray[np.float32]

    @classmethod
    def of(cls, view: View, image: pycolmap.Image, model: pycolmap.Reconstruction) -> Sight:
        """The points that the keyframe observes, at their projections: those belong to the pose, a keypoint may err."""
        xyz = np.array([model.points3D[point.point3D_id].xyz for point in observed(image)]).reshape(-1, 3)
        pixels = from_corner(image.camera.img_from_cam(transformed(image.cam_from_world(), xyz)))
        seen = inside(view.static, pixels)
        return cls(view.grey, xyz[seen], pixels[seen].astype(np.float32), pixels[seen].astype(np.float32))

    def find(self, view: View) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The points found in another view near where they were found last: px [m, 2] and world [m, 3]."""
        self.last, ok = follow(self.grey, self.at, view.grey, self.last)
        ok &= inside(view.static, self.last)
        return self.last[ok].astype(np.float64), self.xyz[ok]


@dataclass
class Waiting:
    """A frame between keyframes and what the keyframe before it has shown in it."""

    view: View
    pixels: list[NDArray[np.float64]] = field(default_factory=list[NDArray[np.float64]])
    xyz: list[NDArray[np.float64]] = field(default_factory=list[NDArray[np.float64]])

    def add(self, sight: Sight) -> None:
        pixels, xyz = sight.find(self.view)
        self.pixels.append(pixels)
        self.xyz.append(xyz)


def transformed(cam_from_world: pycolmap.Rigid3d, xyz: NDArray[np.float64]) -> NDArray[np.float64]:
    """World points [n, 3] in the camera's frame."""
    pose = cam_from_world.matrix()
    return xyz @ pose[:, :3].T + pose[:, 3]


def register(
    views: Iterable[View], model: pycolmap.Reconstruction, trust: Trust
) -> Iterator[tuple[int, pycolmap.Rigid3d | None]]:
    """The camera from the world for every frame in order, None where it cannot be trusted.

    A keyframe has the pose of the bundle adjustment. A frame between two is seen from both sides, up to
    ``trust.reach`` frames away, and no more frames than that are held in memory.
    """
    camera = next(iter(model.cameras.values()))
    anchors = {int(image.name): image for image in model.images.values() if image.has_pose}
    before: Sight | None = None
    since = 0
    waiting: deque[Waiting] = deque()
    for view in views:
        if view.frame in anchors:
            after = Sight.of(view, anchors[view.frame], model)
            for held in reversed(waiting):
                held.add(after)
            yield from ((held.view.frame, locate(held, camera, trust)) for held in waiting)
            waiting.clear()
            yield view.frame, anchors[view.frame].cam_from_world()
            before, since = Sight.of(view, anchors[view.frame], model), 0
            continue
        since += 1
        waiting.append(Waiting(view))
        if before is not None and since <= trust.reach:
            waiting[-1].add(before)
        if len(waiting) > trust.reach:
            held = waiting.popleft()
            yield held.view.frame, locate(held, camera, trust)
    yield from ((held.view.frame, locate(held, camera, trust)) for held in waiting)


def locate(held: Waiting, camera: pycolmap.Camera, trust: Trust) -> pycolmap.Rigid3d | None:
    """Pose by LO-RANSAC and refinement (COLMAP) on the points found; None below the trusted number or share."""
    if not held.pixels:
        return None
    pixels, xyz = to_corner(np.concatenate(held.pixels)), np.concatenate(held.xyz)
    if len(pixels) < trust.min_inliers:
        return None
    options = pycolmap.AbsolutePoseEstimationOptions()
    options.ransac.max_error, options.ransac.random_seed, options.ransac.num_threads = trust.max_error_px, SEED, 1
    found = pycolmap.estimate_and_refine_absolute_pose(pixels, xyz, camera, options)
    if found is None or found["num_inliers"] < max(trust.min_inliers, trust.min_share * len(pixels)):
        return None
    return found["cam_from_world"]
