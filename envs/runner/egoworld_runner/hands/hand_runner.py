"""The base of every runner of hand poses: the model looks, this decides what its sightings are over a clip."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import ClassVar

from egoworld_runner.clip import Clip
from egoworld_runner.hands.background import Background
from egoworld_runner.hands.backwards import Look, Seen, followed_backwards
from egoworld_runner.hands.colourless import seen_without_colour
from egoworld_runner.hands.judging import REJECTED, never_moved, not_a_hand
from egoworld_runner.hands.sides import Sided, sided, with_odds
from egoworld_runner.hands.sighting import Followed, Sighting, followed
from egoworld_runner.hands.skeleton import bone_spread, fitted_lengths, on_skeleton
from egoworld_runner.inputs import Inputs
from egoworld_runner.runner import Params, Runner
from egoworld_runner.tables import HandPose, Row
from egoworld_runner.video import Frame


class HandRunner(Runner):
    """A model of hands that is asked frame by frame; a subclass defines ``look``, and ``forget`` if it remembers.

    What the model says of one frame is a claim. Sightings are followed over the clip; what is no hand is left out, and
    how many sightings that cost, by reason, is noted (``not_hands_brief``, ...). Sides are decided for all of the clip
    together. Joints in space get the bone lengths of one skeleton, unless the model fitted a hand (``T_camera_hand``).

    Example:
        class Hands(HandRunner):
            def setup(self, weights, device):
                self.model = load(weights["hands"], device)

            def look(self, frame):
                found = self.model(frame.rgb)
                return [Sighting(frame.index, hand.p_right, hand.points_2d, hand.points_3d) for hand in found]
    """

    writes = (HandPose,)
    remembers: ClassVar[bool] = False
    """Whether ``look`` follows hands from frame to frame: then they are also followed backwards, see backwards.py."""

    knows_skin: ClassVar[bool] = False
    """Whether the model knows hands by the colour of skin: then it is shown frames without a hand in grey as well."""

    def forget(self, params: Params) -> None:
        """A new pass over frames begins: check the parameters and keep nothing of the last one."""

    def look(self, frame: Frame) -> Sequence[Sighting]:
        """All hands of the next frame, in px of its picture."""
        raise TypeError(f"{type(self).__name__} does not define look(frame)")

    def run(self, clip: Clip, inputs: Inputs, params: Params) -> Iterator[Row]:
        """One row per hand and frame, by frame, then side."""
        self.forget(params)
        background = Background(clip.fps)
        first: list[Sequence[Sighting]] = []
        for frame in clip.frames():
            first.append(self.look(frame))
            background.look(frame.index, frame.rgb)
            clip.progress(frame.index)
        seen = self._looked_again(clip, params, first)
        hands = self._judged(clip, followed(with_odds(seen, clip.width), clip.fps), background)
        rows = sided(hands)
        self._note(clip, rows)
        return _rows(rows, hands)

    def _looked_again(self, clip: Clip, params: Params, seen: Seen) -> Seen:
        """The second passes over what the first one missed; notes what each of them adds."""

        def look() -> Look:
            self.forget(params)
            return self.look

        if self.remembers:
            before, seen = seen, followed_backwards(clip, seen, look)
            clip.note("seen_backwards", _count(seen) - _count(before))
        if self.knows_skin:
            before, seen = seen, seen_without_colour(clip, seen, look)
            clip.note("seen_without_colour", _count(seen) - _count(before))
        return seen

    def _judged(self, clip: Clip, hands: Sequence[Followed], background: Background) -> list[Followed]:
        """Those that may be hands; notes how many sightings the others have, by the reason."""
        reasons = [not_a_hand(hand, clip.fps, len(clip), background) for hand in hands]
        lost = Counter[str]()
        for hand, reason in zip(hands, reasons, strict=True):
            lost[reason] += len(hand)
        for reason in REJECTED:
            clip.note(f"not_hands_{reason}", lost[reason])
        kept = [hand for hand, reason in zip(hands, reasons, strict=True) if not reason]
        clip.note("hands_that_never_moved", sum(len(hand) for hand in kept if never_moved(hand)))
        return kept

    def _note(self, clip: Clip, rows: Sequence[Sided]) -> None:
        frames = len({row.seen.frame for row in rows})
        clip.note("frames_with_hand", frames)
        clip.note("frames_with_both_hands", len(rows) - frames)
        clip.note("sides_corrected", sum(row.score < 0.5 for row in rows))


def _count(seen: Seen) -> int:
    return sum(len(some) for some in seen)


def _rows(rows: Sequence[Sided], hands: Sequence[Followed]) -> Iterator[HandPose]:
    spreads = {id(one): spread for hand in hands for spread in [bone_spread(hand)] for one in hand}
    in_space = [row.seen.keypoints_3d for row in rows if row.seen.keypoints_3d is not None]
    lengths = fitted_lengths(in_space) if in_space else None
    for row in rows:
        one, joints = row.seen, row.seen.keypoints_3d
        if joints is not None and lengths is not None and one.more.get("T_camera_hand") is None:
            joints = on_skeleton(joints, lengths)
        yield HandPose(
            one.frame, row.side, row.score, one.keypoints_2d, joints, bone_spread=spreads[id(one)], **one.more
        )
