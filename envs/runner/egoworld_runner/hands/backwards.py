"""A second pass: hands followed backwards from where they were first seen.

A hand that enters the picture shows its fingers first, and a detector waits for the palm. Once it has the hand, a model
that follows hands from frame to frame keeps it while most of it is hidden; so it does in the other direction of time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from egoworld_runner.clip import Clip
from egoworld_runner.hands.sighting import MEMORY_S, Sighting, are_one_hand, followed
from egoworld_runner.video import Frame, frames

LEAD_S = 0.2
"""How long a hand is looked at before the first frame where it was missed, s."""

MAX_BYTES = 256 * 2**20
"""Pictures that are held at a time, since a video can only be decoded forwards."""

Seen = Sequence[Sequence[Sighting]]
Look = Callable[[Frame], Sequence[Sighting]]


def followed_backwards(clip: Clip, seen: Seen, look: Callable[[], Look]) -> list[list[Sighting]]:
    """What is seen in the frames of a clip when hands are also followed backwards; what was seen stays.

    look: begins a pass that remembers nothing. A pass ends where it has found nothing new for MEMORY_S, and two share
    no frames but those of their leads: together they hardly cost more than the first pass over the clip.
    """
    all_seen = [list(some) for some in seen]
    lead, memory = max(1, round(LEAD_S * clip.fps)), max(1, round(MEMORY_S * clip.fps))
    reached = clip.end_frame
    for start in sorted({hand.seen[0].frame for hand in followed(seen, clip.fps) if len(hand) >= lead}, reverse=True):
        if not clip.start_frame < start <= reached:
            continue
        found_at, step = start, look()
        for frame in _reversed(clip, min(start + lead, clip.end_frame)):
            reached, here = frame.index, all_seen[frame.index - clip.start_frame]
            new = [one for one in step(frame) if not any(are_one_hand(one, other) for other in here)]
            if new and frame.index < start:
                here += new
                found_at = frame.index
            if found_at - frame.index > memory:
                break
    return all_seen


def _reversed(clip: Clip, end: int) -> Iterator[Frame]:
    """The frames of a clip from the one before ``end`` back to the first, decoded in spans that fit into MAX_BYTES."""
    span = max(1, MAX_BYTES // (3 * clip.width * clip.height))
    while end > clip.start_frame:
        start = max(clip.start_frame, end - span)
        yield from reversed(list(frames(clip.path, clip.index, start, end)))
        end = start
