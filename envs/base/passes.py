"""The two passes over a clip that give every hand and object a mask in every frame in which it is seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np
from cutting import ColourCut, grown, smooth, whole, window
from enlarging import Enlarging
from following import Followed, View, started
from hands import SIDES, Hand, Picture, Pixels, bridged, hands_by_frame
from linking import Box, Tracklet, link, meet, overlap, shared
from pycocotools import mask as coco
from shown import Shown, begun, shown_by_frame

from egoworld_runner import Clip, tables
from egoworld_runner.annotations.prompts import Prompt

MOST_OBJECTS = 8
FIRST_OBJECT = 3

SAME_SHARE = 0.5
"""Share of the smaller of two masks that the other covers when both are of the same object."""

SAME_FRAMES = 3

REACH = 0.2
"""How far a hand reaches beyond its box, in the box's longer side."""

CONTACT_S = 0.15
"""Seconds in all that a hand is within reach of an object at least."""

MOST_AREA = 0.35
"""Share of the picture that an object fills at most."""

LARGER = 1.8
"""A detected box larger by this factor than the mask inside it shows that only a part had been followed."""

SURE = 1e6
"""Score of the name that a person gave: more than all that a detector says in a clip."""


@dataclass(eq=False)
class Thing:
    """What is known of one object: the names that boxes gave it, with their summed scores, where it began, its state in
    the pass under way, its rows.
    """

    votes: dict[str, float]
    seed: int
    state: Followed
    first: Followed
    shown: str = ""
    """The name by which a person showed it; empty for one that was detected."""
    rows: dict[int, tables.Mask] = field(default_factory=dict[int, tables.Mask])
    shared: dict[Thing, int] = field(default_factory=dict["Thing", int])
    same_as: Thing | None = None
    latest: tuple[int, Pixels] = (-1, np.zeros((0, 0), bool))
    """The frame that was looked at last, and its pixels there at working size."""

    @property
    def weight(self) -> float:
        """How much speaks for it."""
        return sum(self.votes.values())

    @property
    def label(self) -> str:
        """Its surest name."""
        return max(self.votes, key=lambda name: self.votes[name])

    @property
    def itself(self) -> Thing:
        """The thing that it turned out to be."""
        return self if self.same_as is None else self.same_as.itself

    def also(self, votes: Mapping[str, float]) -> None:
        """Take what was known of another thing that is this one."""
        for name, score in votes.items():
            self.votes[name] = self.votes.get(name, 0.0) + score


class Passes:
    """Takes the frames of a clip forwards, then backwards; pictures are at working size (width, height)."""

    def __init__(
        self,
        clip: Clip,
        size: tuple[int, int],
        hand_poses: Sequence[Mapping[str, Any]],
        detections: Sequence[Mapping[str, Any]],
        prompts: Sequence[Prompt] = (),
    ) -> None:
        scale = size[0] / clip.width
        self._clip, self._size = clip, size
        self._hands = bridged(hands_by_frame(hand_poses, scale), round(0.2 * clip.fps))
        self._cutters = {side: ColourCut() for side in SIDES}
        self._hand_rows: dict[int, list[tables.Mask]] = {}
        self._hand_pixels: dict[int, Picture] = {}
        self._things: list[Thing] = []
        self._seeds = seeds(detections, scale, size, clip.fps)
        self._enlarge = Enlarging(size, (clip.width, clip.height))
        self._shown = shown_by_frame(prompts, scale, size)
        self.not_found = 0
        """Prompts of which nothing could be cut out."""
        self.last_seed = max((*self._seeds, *self._shown), default=clip.start_frame - 1)
        """The last frame in which an object is cut out first: nothing behind it is looked at again."""
        self._last: View | None = None
        self._turned = False

    def forward(self, frame: int, rgb: Picture) -> None:
        """One frame of the first pass: hands, the objects under way, and those first cut out here."""
        view = self._view(frame, rgb, self._cut_hands(frame, rgb))
        self._advance(view)
        for prompt in self._shown.get(frame, []):
            self._show(view, prompt)
        for track, box in self._seeds.get(frame, []):
            self._start(view, track, box)
        self._last = view

    def backward(self, frame: int, rgb: Picture) -> bool:
        """One frame of the second pass; False when nothing is left to do before it."""
        if not self._turned:
            self._turned, self._last = True, None
            for thing in self._things:
                thing.state = thing.first
        if not any(thing.seed > self._clip.start_frame and thing.state.alive for thing in self._things):
            return False
        bits = self._hand_pixels.get(frame)
        shape = self._size[::-1]
        hands = np.zeros(shape, bool) if bits is None else np.unpackbits(bits).reshape(shape).astype(bool)
        view = self._view(frame, rgb, hands)
        self._advance(view)
        self._last = view
        return True

    def rows(self) -> list[tables.Mask]:
        """All masks, ordered by frame and obj_id; the object with the most evidence is the first."""
        for thing in self._things:
            if thing.same_as is not None:
                other = thing.itself
                other.rows = {**thing.rows, **other.rows}
                other.also(thing.votes)
        kept = sorted(one_by_name(self._things), key=lambda thing: (-thing.weight, thing.seed))
        rows = [row for found in self._hand_rows.values() for row in found]
        for number, thing in enumerate(kept[: max(MOST_OBJECTS, sum(bool(thing.shown) for thing in kept))]):
            rows += [replace(row, obj_id=FIRST_OBJECT + number, label=thing.label) for row in thing.rows.values()]
        return sorted(rows, key=lambda row: (row.frame, row.obj_id))

    def _view(self, frame: int, rgb: Picture, hands: Pixels) -> View:
        return View(frame, rgb, cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), grown(hands, 1) if hands.any() else hands)

    def _cut_hands(self, frame: int, rgb: Picture) -> Pixels:
        every, written = np.zeros(self._size[::-1], bool), np.zeros(self._size[::-1], bool)
        for hand in self._hands.get(frame, []):
            found = hand_pixels(rgb, hand, self._cutters[hand.side])
            every |= found
            pixels = self._enlarge.above_half(smooth(found))
            if pixels is not None:
                written |= self._enlarge.reduced(pixels)
                row = mask_row(frame, hand.obj_id, f"{hand.side} hand", pixels, hand.score)
                self._hand_rows.setdefault(frame, []).append(row)
        if frame <= self.last_seed and written.any():
            self._hand_pixels[frame] = np.packbits(written)
        return every

    def _advance(self, view: View) -> None:
        for thing in self._things:
            waiting = self._turned and view.frame >= thing.seed
            if waiting or not thing.state.alive or thing.same_as is not None or self._last is None:
                continue
            thing.state.step(self._last, view)
            self._note(view, thing)

    def _note(self, view: View, thing: Thing) -> None:
        seen = thing.state.visible(view)
        if seen is None:
            return
        pixels = self._enlarge.above_half(thing.state.shape * ~view.hands)
        if pixels is not None:
            thing.rows[view.frame] = mask_row(view.frame, FIRST_OBJECT, thing.label, pixels, thing.state.likeness)
            thing.latest = view.frame, self._enlarge.reduced(pixels)
            self._compare(view.frame, thing, seen)

    def _compare(self, frame: int, thing: Thing, seen: Pixels) -> None:
        """See whether an older object lies under the same pixels, time and again: then this is that one.

        What a person showed is the one that stays, and never another one that was shown.
        """
        for older in self._things[: self._things.index(thing)]:
            if older.same_as is not None or frame not in older.rows or (older.shown and thing.shown):
                continue
            if older.latest[0] != frame:
                older.latest = frame, self._decoded(older.rows[frame])
            theirs = older.latest[1]
            areas = int((theirs & seen).sum()), int(theirs.sum()), int(seen.sum())
            share = shared(*areas, named_alike=older.label == thing.label)
            thing.shared[older] = thing.shared.get(older, 0) + 1 if share > SAME_SHARE else 0
            if thing.shared[older] < SAME_FRAMES:
                continue
            if not thing.shown:
                thing.same_as = older
                return
            older.same_as = thing

    def _start(self, view: View, track: Tracklet, box: Box) -> None:
        votes = track.votes
        replaced: list[Thing] = []
        for thing, held in self._under(view, box):
            if thing.shown or box.area < LARGER * held.area:
                thing.also(votes)
                return
            replaced.append(thing)
        state = started(view, box)
        if state is not None:
            self._begin(view, votes, state, replaced)

    def _show(self, view: View, shown: Shown) -> None:
        state = begun(view, shown)
        around = window(state.shape > 0.5, 0) if state else None
        if state is None or around is None:
            self.not_found += 1
            return
        label, name = shown.prompt.label, shown.prompt.name
        box = box_of(view.frame, around, label)
        replaced = [thing for thing, _ in self._under(view, box) if not thing.shown]
        self._begin(view, {label: SURE}, state, replaced, name)

    def _under(self, view: View, box: Box) -> Iterator[tuple[Thing, Box]]:
        """Things under way that lie under a box, each with its own box."""
        for thing in self._things:
            seen = thing.state.visible(view) if thing.state.alive and thing.same_as is None else None
            around = window(seen, 0) if seen is not None else None
            if around is not None:
                held = box_of(view.frame, around, thing.label)
                if overlap(held, box) > SAME_SHARE:
                    yield thing, held

    def _begin(
        self, view: View, votes: dict[str, float], state: Followed, replaced: Sequence[Thing], shown: str = ""
    ) -> None:
        """Follow a thing from here on, in place of others that turned out to be parts of it."""
        self._things = [thing for thing in self._things if thing not in replaced]
        first = Followed(state.shape.copy(), state.unknown.copy(), state.cutter.copy(), state.colours)
        thing = Thing(votes, view.frame, state, first, shown)
        self._things.append(thing)
        for other in replaced:
            thing.also(other.votes)
        self._note(view, thing)

    def _decoded(self, row: tables.Mask) -> Pixels:
        pixels = coco.decode({"size": [row.height, row.width], "counts": row.rle.encode("ascii")})
        return self._enlarge.reduced(pixels)


def one_by_name(things: Sequence[Thing]) -> list[Thing]:
    """What there is, each once: a thing that was shown in several frames has the masks of the nearest of them."""
    alone = [thing for thing in things if thing.same_as is None]
    named: dict[str, list[Thing]] = {}
    for thing in alone:
        if thing.shown:
            named.setdefault(thing.shown, []).append(thing)
    for same in named.values():
        frames = {frame for thing in same for frame in thing.rows}
        nearest = {
            frame: min((thing for thing in same if frame in thing.rows), key=lambda thing: abs(thing.seed - frame))
            for frame in frames
        }
        same[0].rows = {frame: thing.rows[frame] for frame, thing in nearest.items()}
    return [thing for thing in alone if not thing.shown or named[thing.shown][0] is thing]


def box_of(frame: int, around: tuple[slice, slice], label: str) -> Box:
    """The box of some rows and columns."""
    rows, columns = around
    return Box(frame, columns.start, rows.start, columns.stop, rows.stop, 1.0, label=label)


def mask_row(frame: int, obj_id: int, label: str, pixels: Picture, score: float) -> tables.Mask:
    """The row of a mask; pixels: [h, w] of 0 and 1 in Fortran order, at the video's size."""
    encoded = coco.encode(pixels)
    area, (height, width) = int(coco.area(encoded)), pixels.shape
    rle = encoded["counts"].decode("ascii")
    return tables.Mask(frame, obj_id, label, rle, height, width, area, round(float(score), 4))


def hand_pixels(rgb: Picture, hand: Hand, cutter: ColourCut) -> Pixels:
    """The skin of a hand: surely its bones, likely their flesh and the wrist, possibly a rim and some bare forearm."""
    shape = (rgb.shape[0], rgb.shape[1])
    sure = hand.flesh(shape, 0.06)
    likely = hand.flesh(shape, 0.2) | hand.forearm(shape, 0.5, 0.5)
    possible = hand.flesh(shape, 0.42) | hand.forearm(shape, 1.3, 0.9)
    found = whole(cutter.cut(rgb, sure, likely, possible, rounds=1), sure)
    return found if found.sum() > 0.4 * likely.sum() else likely


def object_boxes(rows: Sequence[Mapping[str, Any]], scale: float) -> dict[int, list[Box]]:
    """Boxes of everything but hands per frame, px at working size."""
    found: dict[int, list[Box]] = {}
    for row in rows:
        if not row["label"].endswith("hand"):
            corners = (float(row[name]) * scale for name in ("x0", "y0", "x1", "y1"))
            box = Box(row["frame"], *corners, float(row["score"]), label=row["label"])
            found.setdefault(row["frame"], []).append(box)
    return found


def hand_boxes(rows: Sequence[Mapping[str, Any]], scale: float) -> dict[int, list[Box]]:
    """Boxes within reach of each hand per frame, px at working size."""
    found: dict[int, list[Box]] = {}
    for row in rows:
        if row["label"].endswith("hand"):
            x0, y0, x1, y1 = (float(row[name]) * scale for name in ("x0", "y0", "x1", "y1"))
            reach = REACH * max(x1 - x0, y1 - y0)
            box = Box(row["frame"], x0 - reach, y0 - reach, x1 + reach, y1 + reach, float(row["score"]))
            found.setdefault(row["frame"], []).append(box)
    return found


def seeds(
    rows: Sequence[Mapping[str, Any]], scale: float, size: tuple[int, int], fps: float
) -> dict[int, list[tuple[Tracklet, Box]]]:
    """Where each tracklet of detections' rows is cut out first: its box of a usual size with the best score, by frame.

    Left out are things that no hand comes near for CONTACT_S in all, and those that fill more than MOST_AREA of the
    picture, ``size``: furniture and floors, which no hand moves.
    """
    boxes, hands = object_boxes(rows, scale), hand_boxes(rows, scale)
    found: dict[int, list[tuple[Tracklet, Box]]] = {}
    for track in link(((frame, boxes[frame]) for frame in sorted(boxes)), round(0.5 * fps)):
        touched = sum(any(meet(box, hand) for hand in hands.get(box.frame, [])) for box in track.boxes)
        usual = float(np.percentile([box.area for box in track.boxes], 70))
        if touched < max(2, round(CONTACT_S * fps)) or usual > MOST_AREA * size[0] * size[1]:
            continue
        best = max(track.boxes, key=lambda box: box.score - abs(np.log(box.area / usual)))
        found.setdefault(best.frame, []).append((track, best))
    for starts in found.values():
        starts.sort(key=lambda start: -sum(box.score for box in start[0].boxes))
    return found
