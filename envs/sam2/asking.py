"""What the model is asked in each frame: which hands and objects it is shown, and under which obj_id."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from egoworld_runner import Clip, Params
from egoworld_runner.annotations.prompts import Prompt
from egoworld_runner.hand_boxes import INDEX, LITTLE, MIDDLE, hand_boxes

HANDS = {"left": 1, "right": 2}
FIRST_OBJECT = 3
STRAYED = 0.3
"""IoU of a hand's mask with the hand's own box below which the mask has left the hand."""

T = TypeVar("T")
Box = tuple[float, float, float, float]
Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Ask:
    """One thing as it is shown to the model in one frame: edges of a box, points on it and beside it, px."""

    obj_id: int
    label: str
    score: float
    box: Box | None
    inside: Points = ()
    outside: Points = ()


@dataclass
class Followed:
    """What is known of a followed thing: its name, when it was shown first and last, where and when it was seen."""

    label: str
    begun_at: int
    shown_at: int
    place: Box | None
    seen_at: int = -1


@dataclass
class Asking:
    """Goes through the frames of a clip in order. hands, detections and prompts (what a person showed): by frame."""

    every: int
    same: float
    most: int
    hands: Mapping[int, Sequence[Ask]]
    detections: Mapping[int, Sequence[Ask]]
    prompts: Mapping[int, Sequence[Prompt]]
    followed: dict[int, Followed] = field(default_factory=dict[int, Followed])
    by_name: dict[str, int] = field(default_factory=dict[str, int])
    left_out: int = 0
    """Boxes of new things beyond ``most``."""

    @classmethod
    def of(
        cls,
        clip: Clip,
        hand_poses: Iterable[Mapping[str, Any]],
        detections: Iterable[Mapping[str, Any]],
        prompts: Iterable[Prompt],
        params: Params,
    ) -> Asking:
        """What earlier stages and a person said about a clip."""
        every = max(1, round(params["every_s"] * clip.fps))
        hands = (hand_ask(row, clip.width, clip.height) for row in hand_poses)
        objects = ((row["frame"], object_ask(row)) for row in detections if not row["label"].endswith("hand"))
        shown = ((prompt.frame, prompt) for prompt in prompts)
        asked = by_frame(found for found in hands if found), by_frame(objects), by_frame(shown)
        return cls(every, params["same"], int(params["most_objects"]), *asked)

    @property
    def anything(self) -> bool:
        """Whether there is anything to ask for in the whole clip."""
        return bool(self.hands or self.detections or self.prompts)

    def asks(self, frame: int) -> list[Ask]:
        """What the model is shown in this frame; each obj_id once."""
        asks: list[Ask] = []
        for source in (self._shown, self._hands, self._detected):
            for ask in source(frame):
                known = self.followed.setdefault(ask.obj_id, Followed(ask.label, frame, frame, ask.box))
                known.shown_at, known.place = frame, ask.box or known.place
                asks.append(ask)
        return asks

    def saw(self, frame: int, obj_id: int, box: Box) -> None:
        """Where the model sees a thing in a frame."""
        known = self.followed[obj_id]
        known.place, known.seen_at = box, frame

    def new(self, frame: int, ask: Ask) -> bool:
        """Whether an object is shown in this frame for the first time."""
        return ask.obj_id >= FIRST_OBJECT and self.followed[ask.obj_id].begun_at == frame

    def label(self, obj_id: int) -> str:
        """The name of a thing: a person's, or that of its first box."""
        return self.followed[obj_id].label

    def _shown(self, frame: int) -> Iterable[Ask]:
        for prompt in self.prompts.get(frame, ()):
            obj_id = self.by_name.setdefault(prompt.name, self._next())
            yield Ask(obj_id, prompt.label, 1.0, prompt.box, prompt.inside, prompt.outside)

    def _hands(self, frame: int) -> Iterable[Ask]:
        """Hands that are new, were lost, are followed by a mask that left them, or were last shown long ago."""
        for ask in self.hands.get(frame, ()):
            known = self.followed.get(ask.obj_id)
            if known is not None and known.shown_at == frame:
                continue  # two rows of one hand
            lost = known is None or known.seen_at < frame - 1 or known.place is None or ask.box is None
            if lost or self._due(known, frame) or overlap(known.place, ask.box) < STRAYED:
                yield ask

    def _detected(self, frame: int) -> Iterable[Ask]:
        """Detected boxes, the surest first: of a followed thing, shown again when that is due, or of a new one."""
        taken: set[int] = set()
        points = [prompt.inside[0] for prompt in self.prompts.get(frame, ()) if prompt.box is None]
        for ask in sorted(self.detections.get(frame, ()), key=lambda ask: -ask.score):
            obj_id = self._followed_as(ask, taken)
            if obj_id is None and any(holds(ask.box, point) for point in points):
                continue  # a person showed it by this point just now
            if obj_id is None and self._objects() >= self.most:
                self.left_out += 1
                continue
            if obj_id is None:
                obj_id = self._next()
                yield Ask(obj_id, ask.label, ask.score, ask.box)
            elif self._due(self.followed[obj_id], frame):
                yield Ask(obj_id, self.label(obj_id), ask.score, ask.box)
            taken.add(obj_id)

    def _followed_as(self, ask: Ask, taken: set[int]) -> int | None:
        """The object that a box is of: the one that it overlaps best where that was last seen."""
        known = {n: one for n, one in self.followed.items() if n >= FIRST_OBJECT and n not in taken and one.place}
        gains = {obj_id: overlap(one.place, ask.box) for obj_id, one in known.items() if one.place and ask.box}
        best = max(gains, key=lambda obj_id: gains[obj_id], default=None)
        return best if best is not None and gains[best] >= self.same else None

    def _due(self, known: Followed, frame: int) -> bool:
        return frame - known.shown_at >= self.every

    def _objects(self) -> int:
        return sum(obj_id >= FIRST_OBJECT for obj_id in self.followed)

    def _next(self) -> int:
        return max((FIRST_OBJECT - 1, *self.followed)) + 1


def hand_ask(row: Mapping[str, Any], width: int, height: int) -> tuple[int, Ask] | None:
    """Frame and box of a row of hand_poses, three knuckles as points on it; None for a hand outside the picture."""
    found = next(iter(hand_boxes([row], width, height)), None)
    if found is None:
        return None
    joints = np.asarray(row["keypoints_2d"], np.float64).reshape(21, 2)[[INDEX, MIDDLE, LITTLE]]
    knuckles = [(x, y) for x, y in joints.tolist() if 0 <= x <= width - 1 and 0 <= y <= height - 1]
    box = (found.x0, found.y0, found.x1, found.y1)
    return found.frame, Ask(HANDS[row["side"]], found.label, found.score, box, tuple(knuckles))


def object_ask(row: Mapping[str, Any]) -> Ask:
    """A row of detections, under no obj_id yet."""
    return Ask(0, row["label"], row["score"], (row["x0"], row["y0"], row["x1"], row["y1"]))


def by_frame(pairs: Iterable[tuple[int, T]]) -> dict[int, list[T]]:
    """Values by the frame that they are of."""
    found: dict[int, list[T]] = {}
    for frame, value in pairs:
        found.setdefault(frame, []).append(value)
    return found


def holds(box: Box | None, point: tuple[float, float]) -> bool:
    """Whether a point lies in a box."""
    return box is not None and box[0] <= point[0] < box[2] and box[1] <= point[1] < box[3]


def overlap(a: Box, b: Box) -> float:
    """IoU of two boxes."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(0.0, width) * max(0.0, height)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both) if both else 0.0
