"""The reconstruction in the form that leaves this stage: normalised frame and scale, files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap
from numpy.typing import NDArray
from sfm import Keyframe

from egoworld_runner.lenses import FOCAL, PARAMETERS, Lens

VERTEX = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("red", "u1"), ("green", "u1"), ("blue", "u1")])


def normalise(model: pycolmap.Reconstruction) -> None:
    """Put the origin at the first registered camera and scale to a median depth of 1 over all observations.

    Pictures alone give no metres; this fixes the free scale in a way that does not hang on the keyframes' spacing.
    """
    images = sorted((image for image in model.images.values() if image.has_pose), key=lambda image: image.name)
    depths = [image.cam_from_world() * model.points3D[p.point3D_id].xyz for image in images for p in observed(image)]
    scale = 1.0 / float(np.median([depth[2] for depth in depths]))
    first = images[0].cam_from_world()
    model.transform(pycolmap.Sim3d(scale, first.rotation, scale * first.translation))


def observed(image: pycolmap.Image) -> list[Any]:
    """The keypoints of an image that have a 3-D point, in the order of their detection."""
    return [point for point in image.points2D if point.has_point3D()]


def colours_of(model: pycolmap.Reconstruction, keyframes: list[Keyframe]) -> dict[int, NDArray[np.uint8]]:
    """The mean RGB of every 3-D point over the keypoints that see it."""
    by_name = {keyframe.name: keyframe for keyframe in keyframes}
    out: dict[int, NDArray[np.uint8]] = {}
    for point_id in sorted(model.points3D):
        elements = model.points3D[point_id].track.elements
        seen = [by_name[model.images[e.image_id].name].colours[e.point2D_idx] for e in elements]
        out[point_id] = np.mean(seen, axis=0).round().astype(np.uint8)
    return out


def write_points(folder: Path, model: pycolmap.Reconstruction, keyframes: list[Keyframe]) -> None:
    """points.ply (binary: xyz in the world frame, RGB) into the clip's folder."""
    colours = colours_of(model, keyframes)
    vertices = np.zeros(len(colours), VERTEX)
    for row, (point_id, colour) in zip(vertices, colours.items(), strict=True):
        row["x"], row["y"], row["z"] = model.points3D[point_id].xyz
        row["red"], row["green"], row["blue"] = colour
    kinds = {"f4": "float", "u1": "uchar"}
    properties = "".join(f"property {kinds[VERTEX[name].str[1:]]} {name}\n" for name in VERTEX.names or ())
    header = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(vertices)}\n{properties}end_header\n"
    (folder / "points.ply").write_bytes(header.encode("ascii") + vertices.tobytes())


def write_lens(folder: Path, lens: Lens, size: tuple[int, int]) -> None:
    """intrinsics.json into the clip's folder: the model, the video's size and every number by its name."""
    facts = {
        "model": lens.model,
        "width": size[0],
        "height": size[1],
        **dict(zip(FOCAL, lens.intrinsics, strict=True)),
        **dict(zip(PARAMETERS[lens.model], lens.distortion, strict=True)),
    }
    (folder / "intrinsics.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="ascii")
