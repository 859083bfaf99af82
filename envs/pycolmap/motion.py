"""How far the camera moved, measured on the static world, and the keyframes that follow from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from static_world import View, inside

CORNERS = 300
FEWEST_CORNERS = 12
QUALITY = 0.001
STILLEST = 15
WINDOW = (21, 21)
LEVELS = 4
STOP = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 0.01)


def follow(
    template: NDArray[np.uint8], at: NDArray[np.float32], image: NDArray[np.uint8], guess: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Points ``at`` [n, 2] of a template found in an image, from a guess [n, 2]; which were found [n].

    A point that was lost gets its guess moved like the median of the others. Pyramidal Lucas-Kanade (Bouguet 2001).
    """
    if not len(at):
        return guess, np.zeros(0, np.bool_)
    found, status, _ = cv2.calcOpticalFlowPyrLK(
        template,
        image,
        at,
        guess.copy(),
        winSize=WINDOW,
        maxLevel=LEVELS - 1,
        criteria=STOP,
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )
    found, ok = np.asarray(found, np.float32).reshape(-1, 2), np.asarray(status).reshape(-1) > 0
    shift = np.median(found[ok] - guess[ok], axis=0) if ok.any() else np.zeros(2)
    return np.where(ok[:, None], found, guess + shift).astype(np.float32), ok


@dataclass(frozen=True)
class Motion:
    """Decode indices [n] and the px travelled since the first of them, never falling [n].

    ``textured``: share of frames whose static part had corners enough to measure.
    """

    frames: NDArray[np.int64]
    travelled: NDArray[np.float64]
    textured: float


def measure(views: Iterable[View], step_px: float, progress: Callable[[int], None]) -> Motion:
    """Displacement of corners against a reference frame that is renewed after ``step_px``.

    It is the 15th percentile, because most corners may lie on things that move by themselves and are
    not masked. A measure against a reference does not add up the noise of single frames, so a camera that stands
    still stays at a fraction of a pixel however long the clip is.
    """
    frames: list[int] = []
    travelled: list[float] = []
    base, textured = 0.0, 0
    reference: View | None = None
    origin = current = np.zeros((0, 2), np.float32)
    for view in views:
        here = base
        if reference is not None and len(origin) >= FEWEST_CORNERS:
            current, ok = follow(reference.grey, origin, view.grey, current)
            ok &= inside(view.static, current)
            lost = ok.sum() < max(FEWEST_CORNERS, 0.35 * len(origin))
            moved = np.linalg.norm(current[ok] - origin[ok], axis=1)
            far = float(np.percentile(moved, STILLEST)) if ok.any() else step_px
            here = base + far
            textured += 1
            renew = lost or far >= step_px
        else:
            renew = True
        frames.append(view.frame)
        travelled.append(here)
        if renew:
            base, reference = here, view
            origin = current = corners(view)
        progress(view.frame)
    rising = np.maximum.accumulate(np.asarray(travelled))
    return Motion(np.asarray(frames), rising, textured / max(1, len(frames) - 1))


def corners(view: View) -> NDArray[np.float32]:
    """Up to CORNERS well-spread corners of the static part [n, 2], px (Shi and Tomasi 1994)."""
    allowed = view.static.astype(np.uint8) * 255
    spacing = max(view.grey.shape) / 40
    found: Any = cv2.goodFeaturesToTrack(view.grey, CORNERS, QUALITY, spacing, mask=allowed)
    return np.zeros((0, 2), np.float32) if found is None else np.asarray(found, np.float32).reshape(-1, 2)


def keyframes(motion: Motion, step_px: float, max_gap: int, max_frames: int) -> list[int]:
    """Decode indices at equal steps of motion and time, first and last frame included, at most ``max_frames``."""
    effort = motion.travelled / step_px + np.arange(len(motion.frames)) / max_gap
    count = int(min(max(2, max_frames), len(effort), max(2.0, np.ceil(effort[-1]) + 1)))
    at = np.searchsorted(effort, np.linspace(effort[0], effort[-1], count) - 1e-9)
    return [int(frame) for frame in motion.frames[np.unique(at)]]
