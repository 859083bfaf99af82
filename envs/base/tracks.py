"""Stage tracks, classical: corners followed by pyramidal Lucas-Kanade, checked by following them back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import cv2
import numpy as np
from hands import Array, Picture
from numpy.typing import NDArray
from pycocotools import mask as coco

from egoworld_runner import Clip, Inputs, Params, Runner, tables
from egoworld_runner.pixels import resized

WINDOW = 9
"""px, side of the neighbourhood that Lucas-Kanade compares (Bouguet 2001)."""

LEVELS = 3

SPACING = 5
"""px between corners on an object; wider on the background."""

LEAST_QUALITY = 0.004

REFILL_BELOW = 0.85
"""Share of its quota below which an object, or the background, gets new points."""

RIM = 5
"""px, twice the rim of a mask (and one) in which no point is born: there the outline slides over what is behind."""

WIDEST = 960
"""px, wider pictures are halved until they fit: Lucas-Kanade gains nothing from more."""


class LucasKanade(Runner):
    """Points on every hand and object, and on the background, each with the obj_id of the mask that it was born in."""

    writes = (tables.TrackPoint,)

    def run(self, clip: Clip, inputs: Inputs, params: Params) -> Iterator[tables.Row]:
        """Rows ordered by frame and track_id. A lost point has one last row, not visible, where it was seen last."""
        cv2.setNumThreads(1)
        cv2.setRNGSeed(0)
        masks: dict[int, list[dict[str, Any]]] = {}
        for row in inputs.rows("masks"):
            masks.setdefault(row["frame"], []).append(row)
        names = {row["obj_id"]: row["label"] for found in masks.values() for row in found}
        points = Points(clip, params, names)
        total = 0
        for frame in clip.frames():
            rows = points.step(frame.index, frame.rgb, labels(masks.get(frame.index, []), clip))
            yield from rows
            total += len(rows)
            clip.progress(frame.index)
        clip.note("points", total)
        clip.note("tracks", points.born)


class Points:
    """The points alive in a clip: position, id, and the object that each belongs to; names: label of each obj_id."""

    def __init__(self, clip: Clip, params: Params, names: Mapping[int, str]) -> None:
        self._names = names
        self._scale = 1.0
        while clip.width * self._scale > WIDEST:
            self._scale /= 2
        self._quota = (int(params["background_points"]), int(params["object_points"]))
        self._limit = float(params["max_backward_px"])
        self._last: Picture | None = None
        self._at: Array = np.zeros((0, 2), np.float32)
        self._ids: NDArray[np.int64] = np.zeros(0, np.int64)
        self._owner: NDArray[np.int64] = np.zeros(0, np.int64)
        self.born = 0

    def step(self, frame: int, rgb: Picture, owners: NDArray[np.uint8]) -> list[tables.TrackPoint]:
        """Rows of one frame. owners: [h, w] obj_id of every pixel at full size, 0 background."""
        height, width = owners.shape
        size = (round(width * self._scale), round(height * self._scale))
        gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        if self._scale < 1:
            gray = cv2.resize(gray, size, interpolation=cv2.INTER_AREA)
            owners = cv2.resize(owners, size, interpolation=cv2.INTER_NEAREST_EXACT)
        rows = self._follow(frame, gray, owners)
        self._refill(gray, owners)
        self._last = gray
        alive = zip(self._ids, self._at, self._owner, strict=True)
        rows += [self._row(frame, number, at, owner, visible=True) for number, at, owner in alive]
        return sorted(rows, key=lambda row: row.track_id)

    def _row(self, frame: int, number: Any, at: Array, owner: Any, *, visible: bool) -> tables.TrackPoint:
        x, y = resized(at.astype(np.float64), 1 / self._scale).tolist()
        return tables.TrackPoint(
            int(number), frame, round(x, 3), round(y, 3), visible, int(owner), self._names.get(int(owner), "")
        )

    def _follow(self, frame: int, gray: Picture, owners: NDArray[np.uint8]) -> list[tables.TrackPoint]:
        if self._last is None or not len(self._at):
            return []
        there, back, found = follow(self._last, gray, self._at)
        whole = np.rint(there).astype(int)
        inside = ((whole >= 0) & (whole < [gray.shape[1], gray.shape[0]])).all(axis=1)
        kept = found & inside & (np.linalg.norm(back - self._at, axis=1) < self._limit)
        here = np.zeros(len(kept), np.uint8)
        here[inside] = owners[whole[inside, 1], whole[inside, 0]]
        kept &= (here == 0) | (here == self._owner)  # another object or a hand came in front
        kept &= ~apart(self._at, there, self._owner, kept)
        lost = zip(self._ids[~kept], self._at[~kept], self._owner[~kept], strict=True)
        rows = [self._row(frame, number, at, owner, visible=False) for number, at, owner in lost]
        self._at, self._ids, self._owner = there[kept], self._ids[kept], self._owner[kept]
        return rows

    def _refill(self, gray: Picture, owners: NDArray[np.uint8]) -> None:
        for owner in np.flatnonzero(np.bincount(owners.reshape(-1))).tolist():
            quota = self._quota[owner > 0]
            wanted = quota - int((self._owner == owner).sum())
            if wanted <= (1 - REFILL_BELOW) * quota:
                continue
            free = (owners == owner).astype(np.uint8)
            if owner:
                free = cv2.erode(free, np.ones((RIM, RIM), np.uint8), borderValue=0)
            spacing = SPACING if owner else max(SPACING, round((free.size / (2 * self._quota[0])) ** 0.5))
            for x, y in np.rint(self._at).astype(int).tolist():
                cv2.circle(free, (x, y), spacing, 0, -1)
            if not free.any():
                continue
            new = corners(gray, free, wanted, spacing)
            self._at = np.concatenate([self._at, new])
            self._ids = np.concatenate([self._ids, np.arange(self.born, self.born + len(new))])
            self._owner = np.concatenate([self._owner, np.full(len(new), owner, np.int64)])
            self.born += len(new)


def labels(rows: list[dict[str, Any]], clip: Clip) -> NDArray[np.uint8]:
    """obj_id of every pixel, 0 background; hands lie over objects."""
    owners = np.zeros((clip.height, clip.width), np.uint8)
    for row in sorted(rows, key=lambda row: -row["obj_id"]):
        if row["obj_id"] < 256:
            pixels = coco.decode({"size": [row["height"], row["width"]], "counts": row["rle"].encode("ascii")})
            owners[pixels.astype(bool)] = row["obj_id"]
    return owners


def corners(gray: Picture, free: NDArray[np.uint8], wanted: int, spacing: int) -> Array:
    """Up to ``wanted`` corners [n, 2] where ``free`` is set (Shi and Tomasi 1994), the strongest first, sub-pixel."""
    rows, columns = np.flatnonzero(free.any(axis=1)), np.flatnonzero(free.any(axis=0))
    top, left = max(0, int(rows[0]) - 4), max(0, int(columns[0]) - 4)
    part = np.s_[top : int(rows[-1]) + 5, left : int(columns[-1]) + 5]
    found = cv2.goodFeaturesToTrack(gray[part], wanted, LEAST_QUALITY, spacing, mask=free[part], blockSize=5)
    if found is None:
        return np.zeros((0, 2), np.float32)
    return found.reshape(-1, 2) + np.array([left, top], np.float32)


def follow(before: Picture, now: Picture, at: Array) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Where points went, where they come back to, and whether both are known."""
    options: Mapping[str, Any] = {
        "winSize": (WINDOW, WINDOW),
        "maxLevel": LEVELS,
        "criteria": (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 0.01),
        "minEigThreshold": 1e-4,
    }
    there, ok, _ = cv2.calcOpticalFlowPyrLK(before, now, at.reshape(-1, 1, 2), None, **options)
    back, ok_back, _ = cv2.calcOpticalFlowPyrLK(now, before, there, None, **options)
    return there.reshape(-1, 2), back.reshape(-1, 2), (ok & ok_back).reshape(-1).astype(bool)


def apart(at: Array, there: Array, owner: NDArray[np.int64], kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Points that leave the way that the others of their object agree on: they slid onto something else."""
    away = np.zeros(len(at), bool)
    for one in np.unique(owner[kept]):
        group = np.flatnonzero(kept & (owner == one))
        if len(group) < 8:
            continue
        motion, _ = cv2.findHomography(at[group], there[group], cv2.RANSAC, 2.0, maxIters=300)
        if motion is None:
            continue
        expected = cv2.perspectiveTransform(at[group].reshape(-1, 1, 2), motion).reshape(-1, 2)
        error = np.linalg.norm(there[group] - expected, axis=1)
        away[group] = error > max(6.0, 6.0 * float(np.median(error)))
    return away
