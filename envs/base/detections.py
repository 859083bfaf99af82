"""Stage detections, classical: hands from their keypoints, objects by their motion against the camera's own."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

import cv2
import numpy as np
from cutting import disc
from hands import Array, Hand, Picture, Pixels, Skin, bridged, colour_of, hands_by_frame
from linking import Box, Tracklet, link
from motion import Motion, MotionField

from egoworld_runner import Clip, Inputs, Params, Runner, tables
from egoworld_runner.hand_boxes import hand_boxes

GAP_S = 0.17
"""Seconds between the two frames that motion is seen between."""

ALONE = 0.25
"""The least score of a moving region."""

TOUCHING = 0.35
"""What a box at a hand scores more."""

MOST_GRIP = 0.6
"""Share of a region that may lie on or between the fingers of a hand: more is the hand itself."""

REACH = 1.2
"""Palms around a hand within which an object that it moves is looked for."""

LEAST_AREA = 0.0012
"""Share of the picture that an object fills at least."""

MOST_AREA = 0.35

LEAST_FILL = 0.35
"""Share of its box that an object fills at least: rims of shadows and gaps between fingers are thin."""

HELD_S = 0.3
"""Seconds on end that a hand moves an object at least."""

LEAST_PATH = 0.01
"""Widths of the picture that it moves meanwhile, at least."""

SKIN_FRAMES = 10
"""Frames that the colour of the hands is learnt from before the first pass."""


class MovingObjects(Runner):
    """Boxes labelled "left hand", "right hand" and "object"; an object is reported in the frames in which it moves."""

    writes = (tables.Detection,)

    def run(self, clip: Clip, inputs: Inputs, params: Params) -> Iterator[tables.Row]:
        """Rows ordered by frame and label. Objects: regions that move on their own for long enough, not the arm."""
        cv2.setNumThreads(1)
        cv2.setRNGSeed(0)
        scale = min(1.0, float(params["work_width"]) / clip.width)
        hands = hands_by_frame(inputs.rows("hand_poses"), scale)
        rows = list(hand_boxes(inputs.rows("hand_poses"), clip.width, clip.height))
        finder = RegionFinder(clip, scale, bridged(hands, round(0.5 * clip.fps)))
        finder.learn_skin(hands)
        regions = [found for frame in clip.frames() if (found := finder.regions(frame.index, frame.rgb))]
        tracklets = link(regions, patience=max(2, round(0.4 * clip.fps)))
        kept = [track for track in tracklets if worth(track, clip.fps, clip.width * scale)]
        rows += [object_row(clip, box, scale) for track in kept for box in track.boxes]
        yield from sorted(rows, key=lambda row: (row.frame, row.label, row.x0, row.y0))
        clip.note("objects", len(kept))
        if not rows:
            clip.nothing("there is no hand, and nothing moves on its own")


@dataclass(frozen=True)
class Bodies:
    """Pixels of one frame: ``skin`` of hands and arms, ``grip`` on and between the fingers, ``near`` a hand and its
    arm, and all that is in ``reach`` of a hand.
    """

    skin: Pixels
    grip: Pixels
    near: Pixels
    reach: Pixels


class RegionFinder:
    """Finds the regions of a frame that move on their own and are no hand or arm."""

    def __init__(self, clip: Clip, scale: float, hands: Mapping[int, list[Hand]]) -> None:
        self._width, self._height = round(clip.width * scale), round(clip.height * scale)
        gap = max(1, round(GAP_S * clip.fps))
        self._field = MotionField(self._height, self._width, gap)
        self._recent: deque[Bodies] = deque(maxlen=gap + 1)
        self._skin = Skin()
        self._hands = hands
        self._clip = clip

    def learn_skin(self, hands: Mapping[int, list[Hand]]) -> None:
        """Learn the colour of the hands from a few of the first frames with hands, so it is known from the start."""
        wanted = set(sorted(hands)[: 4 * SKIN_FRAMES : 4])
        for frame in self._clip.frames() if wanted else ():
            if frame.index in wanted:
                self._bodies(hands[frame.index], colour_of(self._small(frame.rgb)))
            if frame.index >= max(wanted):
                return

    def _small(self, rgb: Picture) -> Picture:
        return cv2.resize(rgb, (self._width, self._height), interpolation=cv2.INTER_AREA)

    def regions(self, frame: int, rgb: Picture) -> tuple[int, list[Box]] | None:
        """A frame and the boxes of its moving regions, px of the reduced picture; lags behind ``frame``."""
        small = self._small(rgb)
        self._clip.progress(frame)
        hands = self._hands.get(frame, [])
        self._recent.append(self._bodies(hands, colour_of(small)))
        bodies = self._recent[-1]
        motion = self._field.step(frame, small, bodies.near, bodies.reach)
        if motion is None:
            return None
        bodies = self._recent[0]
        return motion.frame, self._boxes(filled(motion, self._width) & ~bodies.skin, motion, bodies)

    def _bodies(self, hands: list[Hand], colour: Array) -> Bodies:
        shape = (self._height, self._width)
        unit = self._width / 320
        skin = cv2.morphologyEx(self._skin.likely(colour).view(np.uint8), cv2.MORPH_OPEN, disc(unit))
        skin = cv2.dilate(cv2.morphologyEx(skin, cv2.MORPH_CLOSE, disc(5 * unit)), disc(unit))
        body, grip, near, reach = skin.view(bool), *(np.zeros(shape, bool) for _ in range(3))
        for hand in hands:
            self._skin.learn(colour, hand.flesh(shape, 0.08))
            body |= hand.flesh(shape, 0.16) | hand.behind(shape)
            grip |= hand.flesh(shape, 0.45)
            near |= hand.flesh(shape, 0.9) | hand.forearm(shape, 4.0)
            reach |= hand.flesh(shape, 2 * REACH)
        return Bodies(body, grip, near, reach)

    def _boxes(self, moving: Pixels, motion: Motion, bodies: Bodies) -> list[Box]:
        total, labels, stats, _ = cv2.connectedComponentsWithStats(moving.view(np.uint8), connectivity=8)
        picture = self._width * self._height
        boxes: list[Box] = []
        for label in range(1, total):
            x, y, w, h, area = (int(v) for v in stats[label])
            if not LEAST_AREA * picture <= area <= MOST_AREA * picture or area < LEAST_FILL * w * h:
                continue
            around = np.s_[y : y + h, x : x + w]
            inside = labels[around] == label
            if bodies.grip[around][inside].mean() > MOST_GRIP:
                continue
            contrast = float(np.median(motion.residual[around][inside] / motion.threshold[around][inside]))
            touching = bool(bodies.near[around][inside].any())
            score = float(np.clip(ALONE + 0.15 * contrast, 0, 0.6)) + (TOUCHING if touching else 0.0)
            border = x <= 1 or y <= 1 or x + w >= self._width - 1 or y + h >= self._height - 1
            boxes.append(Box(motion.frame, x, y, x + w, y + h, score, border))
        return boxes


def filled(motion: Motion, width: int) -> Pixels:
    """The surfaces whose moving edges are seen: the gaps between them closed where flow says motion, specks removed."""
    grown = cv2.morphologyEx(motion.moving.view(np.uint8), cv2.MORPH_CLOSE, disc(5 * width / 320)).view(bool)
    surface = (grown & (motion.residual > 0.5 * motion.threshold)).view(np.uint8)
    return cv2.morphologyEx(surface, cv2.MORPH_OPEN, disc(1.5 * width / 320)).view(bool)


def worth(track: Tracklet, fps: float, width: float) -> bool:
    """Whether a tracklet is an object, which is what a hand moves: it moved for HELD_S on end while a hand was at it,
    and was not forever half outside the picture.

    What moves by itself, clothes for one, meets a hand for less, and so does a still thing whose parallax looks like
    motion.
    """
    boxes = track.boxes
    held = [Tracklet(list(run)) for at_hand, run in groupby(boxes, lambda b: b.score > ALONE + TOUCHING) if at_hand]
    longest = max(held, key=lambda run: len(run.boxes), default=Tracklet())
    inside = sum(not box.border for box in boxes)
    lasting = len(longest.boxes) >= max(4, round(HELD_S * fps))
    return lasting and longest.path >= LEAST_PATH * width and inside >= 0.2 * len(boxes)


def object_row(clip: Clip, box: Box, scale: float) -> tables.Detection:
    """The box of a moving object, cut to the picture."""
    x0, x1 = (min(max(v / scale, 0.0), float(clip.width)) for v in (box.x0, box.x1))
    y0, y1 = (min(max(v / scale, 0.0), float(clip.height)) for v in (box.y0, box.y1))
    return tables.Detection(box.frame, "object", round(box.score, 4), x0, y0, x1, y1)
