"""One skeleton for the hands of a person: bone lengths fitted over a clip, and how far single frames are from them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from egoworld_runner.hands.sighting import Array, Followed

PARENTS = (0, 1, 2, 3, 0, 5, 6, 7, 0, 9, 10, 11, 0, 13, 14, 15, 0, 17, 18, 19)
"""The joint that each of the joints 1 to 20 hangs on: the wrist for those of the palm."""


def bone_lengths(keypoints_3d: Array) -> Array:
    """Lengths [..., 20] of the bones that end in the joints 1 to 20; keypoints_3d: [..., 21, 3] m."""
    return np.linalg.norm(keypoints_3d[..., 1:, :] - keypoints_3d[..., list(PARENTS), :], axis=-1)


def fitted_lengths(hands: Sequence[Array]) -> Array:
    """The median length [20] of each bone, m, over the frames of all hands, each [21x3]: left and right are alike."""
    return np.median(bone_lengths(np.stack(hands)), axis=0)


def bone_spread(hand: Followed) -> float | None:
    """How far the bones of a followed hand change their length: median deviation (as a standard deviation) of a bone
    from its own median, as a share of it, mean of all bones. None without joints in space.

    One frame has nothing to differ from: 0. Real hands vary by 0.02 to 0.2 in MediaPipe's joints.
    """
    known = [one.keypoints_3d for one in hand if one.keypoints_3d is not None]
    if not known:
        return None
    lengths = bone_lengths(np.stack(known))
    usual = np.median(lengths, axis=0)
    away = 1.4826 * np.median(np.abs(lengths - usual), axis=0)
    return float(np.mean(away / np.maximum(usual, 1e-9)))


def on_skeleton(keypoints_3d: Array, lengths: Array) -> Array:
    """The same hand [21x3] with bones of these lengths [20]: every bone keeps its direction, the hand its centre."""
    found = np.zeros_like(keypoints_3d)
    for joint, (parent, length) in enumerate(zip(PARENTS, lengths, strict=True), start=1):
        bone = keypoints_3d[joint] - keypoints_3d[parent]
        found[joint] = found[parent] + bone * (length / max(float(np.linalg.norm(bone)), 1e-9))
    return found + (keypoints_3d.mean(axis=0) - found.mean(axis=0))
