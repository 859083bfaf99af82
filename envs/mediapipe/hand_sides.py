"""Which hand is which: detections linked into hands over time, one side for each, one hand per side and frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

SAME_HAND = 0.3
"""Two detections whose joints lie closer than this share of the hand's size are one hand seen twice."""

REACH = 0.8
"""The furthest that a hand's joints move between two detections, in hand sizes."""

MEMORY_S = 0.3
"""How long a hand may go unseen and still be the same hand, s."""

CERTAINTY = 3.0
"""Limit of what one frame can say about the side, as log-odds (a probability of 0.95)."""

SWITCH = 12.0
"""Evidence (sum of log-odds) that it takes to believe that a followed hand became the other one: four sure frames."""

RELABEL = 0.8
"""Below this mean probability of its side, a hand whose side is taken by a surer one becomes the other hand."""


@dataclass(frozen=True)
class Seen:
    """One detection: p_right is the model's probability that it is the person's right hand; joints [21x2] px."""

    frame: int
    p_right: float
    keypoints_2d: NDArray[np.float64]
    keypoints_3d: NDArray[np.float64]

    @property
    def size(self) -> float:
        """The longer side of the box around the joints, px."""
        return max(float(np.ptp(self.keypoints_2d, axis=0).max()), 1.0)

    def distance(self, other: Seen) -> float:
        """Mean distance between the same joints, in units of the larger hand."""
        gap = np.linalg.norm(self.keypoints_2d - other.keypoints_2d, axis=1).mean()
        return float(gap) / max(self.size, other.size)


@dataclass
class Followed:
    """Detections of one hand over time, with one side."""

    seen: list[Seen] = field(default_factory=list[Seen])

    @property
    def evidence(self) -> float:
        """Sum of log-odds for the right hand; its size grows with length and with certainty."""
        return float(log_odds(self.seen).sum())

    def probability(self, side: str) -> float:
        """Mean probability of a side."""
        right = float(np.mean([one.p_right for one in self.seen]))
        return right if side == "right" else 1.0 - right


def log_odds(seen: Sequence[Seen]) -> NDArray[np.float64]:
    """Evidence for the right hand in each detection, limited to +-CERTAINTY."""
    p = np.clip([one.p_right for one in seen], 1e-6, 1 - 1e-6)
    return np.clip(np.log(p / (1 - p)), -CERTAINTY, CERTAINTY)


def without_twins(seen: Sequence[Seen]) -> list[Seen]:
    """Detections of one frame with every hand once: of two on the same hand the one with the surer side stays."""
    kept: list[Seen] = []
    for one in sorted(seen, key=lambda s: -abs(s.p_right - 0.5)):
        if all(one.distance(other) >= SAME_HAND for other in kept):
            kept.append(one)
    return kept


def followed(frames: Sequence[Sequence[Seen]], memory: int) -> list[Followed]:
    """Link detections of successive frames into hands, nearest first; ``memory`` frames may be missing between."""
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


def split_by_side(hand: Followed) -> list[Followed]:
    """Cut a followed hand where it became the other one: the likeliest path of two states with a price on switching.

    Source: Viterbi, "Error bounds for convolutional codes", IEEE Trans. Inf. Theory 13(2), 1967.
    """
    odds = log_odds(hand.seen)
    best, back = np.zeros(2), np.zeros((len(odds), 2), dtype=np.int64)
    for i, value in enumerate(odds):
        stay_or_switch = best[None, :] - SWITCH * (1 - np.eye(2))
        back[i] = stay_or_switch.argmax(axis=1)
        best = stay_or_switch.max(axis=1) + np.array([-value, value]) / 2
    states = [int(best.argmax())]
    for i in range(len(odds) - 1, 0, -1):
        states.append(int(back[i, states[-1]]))
    states.reverse()
    cuts = [i for i in range(1, len(states)) if states[i] != states[i - 1]]
    return [Followed(hand.seen[a:b]) for a, b in zip([0, *cuts], [*cuts, len(states)], strict=True)]


def sided(frames: Sequence[Sequence[Seen]], fps: float) -> list[tuple[str, Seen]]:
    """The side of every detection that stays, by frame, then side: at most one hand per side and frame.

    A hand keeps one side while it is followed. Where two hands claim a side, the one with more evidence has it; the
    other becomes the other hand if its own side was in doubt and that side is free, and is left out otherwise (two
    people can show two right hands).
    """
    once = [without_twins(seen) for seen in frames]
    pieces = [piece for hand in followed(once, max(1, round(MEMORY_S * fps))) for piece in split_by_side(hand)]
    taken: dict[tuple[int, str], Seen] = {}
    for piece in sorted(pieces, key=lambda p: (-abs(p.evidence), p.seen[0].frame)):
        side = "right" if piece.evidence >= 0 else "left"
        other = "left" if side == "right" else "right"
        doubted = piece.probability(side) < RELABEL
        if doubted and _clashes(piece, side, taken) and not _clashes(piece, other, taken):
            side = other
        for one in piece.seen:
            taken.setdefault((one.frame, side), one)
    return [(side, one) for (_, side), one in sorted(taken.items(), key=lambda item: item[0])]


def _clashes(piece: Followed, side: str, taken: dict[tuple[int, str], Seen]) -> bool:
    return any((one.frame, side) in taken for one in piece.seen)
