"""A hand as a model sees it in one frame, and hands followed from frame to frame."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

KNUCKLES = (5, 9, 13, 17)
SAME_HAND = 0.3
"""Two sightings whose joints lie closer than this share of the hand's size are one hand seen twice."""

SAME_PLACE = 0.5
"""The same when their boxes overlap by more than this: a hand taken for its mirror image has its joints elsewhere."""

REACH = 0.8
"""The furthest that a hand's joints move between two sightings, in hand sizes."""

MEMORY_S = 0.3
"""How long a hand may go unseen and still be the same hand, s."""

FOREARM = 2.5
"""Length of a forearm, in palms (wrist to knuckles)."""


@dataclass(frozen=True)
class Sighting:
    """One hand in one frame, in MediaPipe's joint order.

    p_right: the model's probability that it is the person's right hand; keypoints_2d: [21x2] px; keypoints_3d: [21x3] m
    or None; more: other fields of tables.HandPose that the model gives. odds: evidence for the right hand, as log-odds.
    """

    frame: int
    p_right: float
    keypoints_2d: Array
    keypoints_3d: Array | None = None
    more: Mapping[str, Any] = field(default_factory=dict[str, Any])
    odds: float = 0.0

    @property
    def size(self) -> float:
        """The longer side of the box around the joints, px."""
        return max(float(np.ptp(self.keypoints_2d, axis=0).max()), 1.0)

    @property
    def elbow(self) -> Array:
        """About where the elbow is, x, y in px: the palm's direction carried on behind the wrist."""
        wrist = self.keypoints_2d[0]
        return wrist + FOREARM * (wrist - self.keypoints_2d[list(KNUCKLES)].mean(axis=0))

    def distance(self, other: Sighting) -> float:
        """Mean distance between the same joints, in units of the larger hand."""
        gap = np.linalg.norm(self.keypoints_2d - other.keypoints_2d, axis=1).mean()
        return float(gap) / max(self.size, other.size)


@dataclass
class Followed:
    """Sightings of one hand over time."""

    seen: list[Sighting] = field(default_factory=list[Sighting])

    def __iter__(self) -> Iterator[Sighting]:
        return iter(self.seen)

    def __len__(self) -> int:
        return len(self.seen)

    @property
    def odds(self) -> float:
        """Evidence of all sightings for the right hand."""
        return sum(one.odds for one in self.seen)


def overlap(a: Sighting, b: Sighting) -> float:
    """Intersection over union of the boxes around the joints."""
    low_a, high_a, low_b, high_b = (f(k.keypoints_2d, axis=0) for k in (a, b) for f in (np.min, np.max))
    shared = float(np.prod(np.clip(np.minimum(high_a, high_b) - np.maximum(low_a, low_b), 0, None)))
    total = float(np.prod(high_a - low_a) + np.prod(high_b - low_b)) - shared
    return shared / total if total > 0 else 0.0


def are_one_hand(a: Sighting, b: Sighting) -> bool:
    """Whether two sightings of one frame are the same hand."""
    return a.distance(b) < SAME_HAND or overlap(a, b) > SAME_PLACE


def without_twins(seen: Sequence[Sighting]) -> list[Sighting]:
    """Sightings of one frame with every hand once: of two on the same hand the one with the surer side stays."""
    kept: list[Sighting] = []
    for one in sorted(seen, key=lambda s: -abs(s.odds)):
        if not any(are_one_hand(one, other) for other in kept):
            kept.append(one)
    return kept


def followed(frames: Sequence[Sequence[Sighting]], fps: float) -> list[Followed]:
    """Link sightings of successive frames into hands, nearest first; a hand may be missing for MEMORY_S."""
    memory = max(1, round(MEMORY_S * fps))
    hands: list[Followed] = []
    for seen in frames:
        live = [hand for hand in hands if seen and seen[0].frame - hand.seen[-1].frame <= memory]
        pairs = sorted((one.distance(hand.seen[-1]), i, j) for i, one in enumerate(seen) for j, hand in enumerate(live))
        taken: dict[int, int] = {}
        for distance, i, j in pairs:
            if distance <= REACH and i not in taken and j not in taken.values():
                taken[i] = j
        for i, one in enumerate(seen):
            if i in taken:
                live[taken[i]].seen.append(one)
            else:
                hands.append(Followed([one]))
    return hands
