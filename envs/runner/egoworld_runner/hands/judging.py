"""What is not a hand, however sure the model is: seen too briefly, part of the background, or stiff."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np

from egoworld_runner.hands.background import Background
from egoworld_runner.hands.sighting import Array, Followed

REJECTED = ("brief", "stiff", "background")
"""Why something is no hand."""

BRIEF_S = 0.2
"""A hand is seen for at least this long, s."""

TRAVEL = 0.5
"""How far the background has to go, in hand sizes, before what goes along with it is part of it."""

ALONG = 0.25
"""What moves less than this share of the background's travel against it goes along with it."""

TREMBLE = 0.05
"""Position of a thing that rests, as a model gives it from frame to frame, in hand sizes."""

STIFF = 0.005
"""Joints that keep their arrangement to this share of the hand's size are no hand's: real ones, even at rest, 0.03."""

LONG_S = 0.5
"""A hand has to be seen for this long before it can be called stiff, s."""


def not_a_hand(hand: Followed, fps: float, frames: int, background: Background) -> str:
    """Why a followed hand is rejected, one of REJECTED; empty when it may be a hand.

    frames: of the whole clip. A clip that is itself shorter than BRIEF_S asks for a hand in half of its frames.
    """
    if len(hand) < min(max(2, round(BRIEF_S * fps)), (frames + 1) // 2):
        return "brief"
    if len(hand) > LONG_S * fps and shape_change([one.keypoints_2d for one in hand]) < STIFF:
        return "stiff"
    if _goes_along(hand, background):
        return "background"
    return ""


def shape_change(joints: Sequence[Array]) -> float:
    """How far the arrangement of joints [21x2] changes over frames, place, turn and size aside, as a share of the size.

    Root mean square distance of the joints from their median places, after the best similarity, of the hand's own.
    """
    points = np.stack(joints) - np.mean(joints, axis=1, keepdims=True)
    flat = points[..., 0] + 1j * points[..., 1]
    flat = flat / np.maximum(np.sqrt((np.abs(flat) ** 2).mean(axis=1, keepdims=True)), 1e-9)
    turned = (flat * flat[len(flat) // 2].conj()).sum(axis=1)
    flat = flat * (turned.conj() / np.maximum(np.abs(turned), 1e-9))[:, None]
    usual = np.median(flat.real, axis=0) + 1j * np.median(flat.imag, axis=0)
    return float(np.sqrt((np.abs(flat - usual) ** 2).mean()))


def never_moved(hand: Followed) -> bool:
    """Whether a hand stays in one place of the picture for as long as it is seen.

    While the camera rests too, such a hand looks like a thing: a resting hand is kept, and counted.
    """
    centres = np.array([one.keypoints_2d.mean(axis=0) for one in hand])
    size = float(np.median([one.size for one in hand]))
    return float(np.linalg.norm(np.ptp(centres, axis=0))) < 2 * TREMBLE * size


def _goes_along(hand: Followed, background: Background) -> bool:
    """Whether a hand stays where the background is while the camera moves, over the longest stretch that is known."""
    known = [one for one in hand if background.stretch(one.frame) is not None]
    stretches = [list(some) for _, some in groupby(known, key=lambda one: background.stretch(one.frame))]
    longest = max(stretches, key=len, default=[])
    if len(longest) < 3:
        return False
    size = float(np.median([one.size for one in longest]))
    centres = [one.keypoints_2d.mean(axis=0) for one in longest]
    placed = np.array([background.in_first(one.frame, at) for one, at in zip(longest, centres, strict=True)])
    room = np.array([background.in_frame(one.frame, placed[0]) for one in longest])
    travel, own = (float(np.linalg.norm(np.ptp(path, axis=0))) / size for path in (room, placed))
    return travel > TRAVEL and own < ALONG * travel + TREMBLE
