"""Which hand is which, decided over a whole clip.

Four things speak for a side: the model, the side from which the forearm comes, the other hand of the same frame, and
the frames before and after. From which side of the picture right forearms come is not known beforehand (from the right
of a head camera, from the left of a person who faces the camera): it is what agrees best with the model over the clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from egoworld_runner.hands.sighting import REACH, Followed, Sighting, without_twins

CERTAINTY = 3.0
"""Limit of what the model can say about the side in one frame, as log-odds (a probability of 0.95)."""

ARM = 6.0
"""What a forearm from the edge of the picture says about the side, as log-odds, where that side is known for sure."""

BOTH = 3.0
"""The same for which of two hands of one frame comes more from the right, half a picture between the two."""

BODY = 60.0
"""How much arms that come from below or above say about the side of right ones, before the model: 20 frames."""

SHARPNESS = 3.0
"""How fast agreement becomes certainty: half of all the evidence agreeing on balance is a certainty of 0.9."""

SWITCH = 12.0
"""Evidence that it takes to believe that a followed hand became the other one without a leap."""

LEFT_OUT = 1.4
"""Price of leaving out a sighting because the other hand claims its side: log-odds of a probability of 0.8."""


@dataclass(frozen=True)
class Sided:
    """One sighting with the side that was decided for it."""

    side: str
    seen: Sighting

    @property
    def score(self) -> float:
        """The model's probability of the side."""
        return self.seen.p_right if self.side == "right" else 1.0 - self.seen.p_right


def with_odds(frames: Sequence[Sequence[Sighting]], width: int) -> list[list[Sighting]]:
    """The same sightings, every hand once, with their evidence for the right hand; width of the picture, px."""
    lean = right_arms_from([one for seen in frames for one in seen], width)
    weighed: list[list[Sighting]] = []
    for seen in frames:
        once = without_twins([replace(one, odds=log_odds(one) + ARM * lean * _across(one, width)) for one in seen])
        if len(once) == 2:
            order = BOTH * lean * (_across(once[0], width) - _across(once[1], width))
            once = [replace(one, odds=one.odds + sign * order) for one, sign in zip(once, (1, -1), strict=True)]
        weighed.append(once)
    return weighed


def log_odds(one: Sighting) -> float:
    """What the model says about the side, limited to +-CERTAINTY."""
    p = min(max(one.p_right, 1e-6), 1 - 1e-6)
    return float(np.clip(np.log(p / (1 - p)), -CERTAINTY, CERTAINTY))


def right_arms_from(seen: Sequence[Sighting], width: int) -> float:
    """From which side of the picture right forearms come: 1 from the right, -1 from the left, near 0 unknown."""
    if not seen:
        return 0.0
    said = np.array([log_odds(one) * _across(one, width) for one in seen])
    back = np.array([one.elbow - one.keypoints_2d[0] for one in seen])
    below = float(np.mean(back[:, 1] / np.maximum(np.linalg.norm(back, axis=1), 1.0)))
    return float(np.tanh(SHARPNESS * (said.sum() + BODY * below) / (np.abs(said).sum() + BODY)))


def _across(one: Sighting, width: int) -> float:
    """Where the forearm comes from: -1 at the left edge of the picture or beyond, 1 at the right one."""
    return float(np.clip(2 * one.elbow[0] / width - 1, -1, 1))


def split_by_side(hand: Followed) -> list[Followed]:
    """Cut a followed hand where it became the other one: the likeliest path of two states with a price on switching.

    The price falls with the distance between two sightings: a hand that leaps is more easily another one.
    Source: Viterbi, "Error bounds for convolutional codes", IEEE Trans. Inf. Theory 13(2), 1967.
    """
    odds = np.array([one.odds for one in hand])
    leaps = np.array([0.0, *(after.distance(before) for before, after in pairwise(hand))])
    prices = SWITCH * np.clip(1 - leaps / REACH, 0, 1)
    best, back = np.zeros(2), np.zeros((len(odds), 2), dtype=np.int64)
    for i, (value, price) in enumerate(zip(odds, prices, strict=True)):
        stay_or_switch = best[None, :] - price * (1 - np.eye(2))
        back[i] = stay_or_switch.argmax(axis=1)
        best = stay_or_switch.max(axis=1) + np.array([-value, value]) / 2
    states = [int(best.argmax())]
    for i in range(len(odds) - 1, 0, -1):
        states.append(int(back[i, states[-1]]))
    states.reverse()
    cuts = [i for i in range(1, len(states)) if states[i] != states[i - 1]]
    return [Followed(hand.seen[a:b]) for a, b in zip([0, *cuts], [*cuts, len(states)], strict=True)]


@dataclass(frozen=True)
class _Choice:
    """Sides chosen for the pieces so far: what they are worth, the side of the last, the choice before it."""

    worth: float
    side: int
    before: _Choice | None


def chosen_sides(pieces: Sequence[Followed]) -> list[int]:
    """The side of each piece, 1 right and -1 left, that is best for all of them together.

    Pieces in the order of their first frames. A dynamic programme over the pieces: its state is the sides of those that
    later ones can still share frames with. A piece is worth its evidence for its side; in frames that two pieces of one
    side share, the weaker one is left out: it loses its worth there, and LEFT_OUT on top.
    """
    weights = [{one.frame: one.odds for one in piece} for piece in pieces]
    totals = [piece.odds for piece in pieces]
    states: dict[tuple[tuple[int, int], ...], _Choice] = {(): _Choice(0.0, 0, None)}
    for i, piece in enumerate(pieces):
        found: dict[tuple[tuple[int, int], ...], _Choice] = {}
        for state, choice in states.items():
            live = tuple((j, side) for j, side in state if pieces[j].seen[-1].frame >= piece.seen[0].frame)
            for side in (1, -1):
                worth = choice.worth + side * totals[i]
                for j in (j for j, other in live if other == side):
                    weaker = min((side * totals[i], i), (side * totals[j], j))[1]
                    worth -= sum(side * weights[weaker][f] + LEFT_OUT for f in weights[i].keys() & weights[j].keys())
                now = (*live, (i, side))
                if now not in found or worth > found[now].worth:
                    found[now] = _Choice(worth, side, choice)
        states = found
    last: _Choice | None = max(states.values(), key=lambda choice: choice.worth)
    sides: list[int] = []
    while last is not None and last.side:
        sides.append(last.side)
        last = last.before
    return sides[::-1]


def sided(hands: Sequence[Followed]) -> list[Sided]:
    """The side of every sighting that stays, by frame, then side: at most one hand per side and frame.

    hands: their sightings have odds. Two people can show two right hands: then the surer one stays.
    """
    pieces = [piece for hand in hands for piece in split_by_side(hand)]
    pieces.sort(key=lambda piece: (piece.seen[0].frame, *piece.seen[0].keypoints_2d[0].tolist()))
    sides = chosen_sides(pieces)
    taken: dict[tuple[int, str], Sighting] = {}
    for i in sorted(range(len(pieces)), key=lambda i: (-sides[i] * pieces[i].odds, i)):
        for one in pieces[i]:
            taken.setdefault((one.frame, "right" if sides[i] > 0 else "left"), one)
    return [Sided(side, one) for (_, side), one in sorted(taken.items(), key=lambda item: item[0])]
