"""Tracks on a real photograph that a known plane-to-plane map moves: real texture, exact truth."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from egoworld_resources.environments.building.builder import EnvBuilder
from egoworld_resources.environments.catalog import Catalog
from egoworld_runner.tables import Mask, TrackPoint
from tests.accuracy.cuts import SAME_BYTES
from tests.accuracy.figures import Figure
from tests.accuracy.object_motion import Array, put
from tests.made_clips import ModelEnvRuns
from tests.made_videos import make_video

PHOTOGRAPHS = ("01.jpg", "03.jpg")
FOLDER = "OpenSfM/data/berlin/images"
DATA = "real photographs, moved by known maps"
SIZE = (480, 270)
FRAMES = 40
CORNERS = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)


def maps(width: int, height: int) -> Array:
    """Maps [n x 3 x 3] from photograph to frame of a camera that sways, comes nearer and tilts, as a head does."""
    found: list[Array] = []
    for u in np.linspace(0, 1, FRAMES):
        share = 0.62 - 0.14 * u
        left, top = 0.19 + 0.12 * np.sin(5 * u), 0.19 + 0.1 * np.sin(7 * u + 1)
        seen = CORNERS * share + np.array([left, top], np.float32)
        seen += 0.03 * np.sin(6 * u) * np.array([[1, 0], [-1, 0], [1, 1], [-1, -1]], np.float32)
        source = (seen * [width, height]).astype(np.float32)
        found.append(cv2.getPerspectiveTransform(source, CORNERS * np.array(SIZE, np.float32)))
    return np.array(found)


def moved(map_: Array, points: Array) -> Array:
    """Points [n x 2] by one map each [n x 3 x 3]."""
    whole = np.einsum("nij,nj->ni", map_, np.column_stack([points, np.ones(len(points))]))
    return whole[:, :2] / whole[:, 2:]


def measure(data: Path, builder: EnvBuilder, catalog: Catalog, folder: Path) -> list[Figure]:
    """How far visible points are from where the photograph's motion takes them, px."""
    folder.mkdir(parents=True, exist_ok=True)
    videos, inputs, truth = {}, {}, {}
    for name in PHOTOGRAPHS:
        picture = cv2.cvtColor(cv2.imread(str(data / FOLDER / name)), cv2.COLOR_BGR2RGB)
        picture = cv2.resize(picture, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
        truth[name] = maps(picture.shape[1], picture.shape[0])
        frames = [cv2.warpPerspective(picture, at, SIZE, flags=cv2.INTER_CUBIC) for at in truth[name]]
        videos[name] = (make_video(folder / f"{name}.mp4", frames, options={"crf": "18", **SAME_BYTES}), [(0, FRAMES)])
        inputs[name] = {"masks": put(folder / name / "masks", Mask, [])}
    ran = ModelEnvRuns(builder, catalog, "base", TrackPoint.table).run(folder / "run", videos, inputs)
    errors = [_errors(ran.rows(name, (0, FRAMES)), truth[name]) for name in PHOTOGRAPHS]
    return [
        Figure(TrackPoint.table, DATA, f"error, {what}", tuple(float(np.quantile(e, share)) for e in errors), "px")
        for what, share in (("median", 0.5), ("90th percentile", 0.9))
    ]


def _errors(rows: list[dict[str, object]], truth: Array) -> Array:
    """Distances of all visible points after the first of their track."""
    rows = sorted((row for row in rows if row["visible"]), key=lambda row: (row["track_id"], row["frame"]))
    ids, at = (np.array([row[name] for row in rows], int) for name in ("track_id", "frame"))
    pixels = np.array([[row["x"], row["y"]] for row in rows], np.float64)
    starts = np.flatnonzero(np.append(True, np.diff(ids) != 0))
    born = starts[np.cumsum(np.append(True, np.diff(ids) != 0)) - 1]
    true = moved(truth[at], moved(np.linalg.inv(truth[at[born]]), pixels[born]))
    later = np.arange(len(rows)) != born
    return np.linalg.norm(pixels - true, axis=1)[later]
