"""One colour per hand and object, the same in the sheet, the overlay and the recording; MediaPipe's hand topology."""

from __future__ import annotations

from itertools import pairwise

Colour = tuple[int, int, int]

BACKGROUND: Colour = (17, 20, 26)
PANEL: Colour = (27, 32, 41)
RULE: Colour = (52, 60, 74)
TEXT: Colour = (236, 239, 244)
MUTED: Colour = (149, 160, 178)
MISSING: Colour = (240, 176, 96)
"""Of words that say what is not there."""
STATIC: Colour = (120, 132, 150)
"""Tracks of the background, obj_id 0."""

LEFT, RIGHT = 1, 2
"""obj_id of the hands."""
SIDES = {"left": LEFT, "right": RIGHT}

LEFT_COLOUR: Colour = (64, 178, 255)
RIGHT_COLOUR: Colour = (255, 146, 60)
OBJECT_COLOURS: tuple[Colour, ...] = (
    (122, 222, 110),
    (232, 104, 196),
    (250, 218, 80),
    (150, 128, 255),
    (72, 216, 204),
    (244, 100, 100),
)
AXIS_COLOURS: tuple[Colour, ...] = ((240, 70, 70), (80, 210, 90), (80, 140, 255))
"""x, y, z."""

CONNECTIONS = tuple(
    (a, b)
    for finger in (
        (0, 1, 2, 3, 4),
        (0, 5, 6, 7, 8),
        (9, 10, 11, 12),
        (13, 14, 15, 16),
        (0, 17, 18, 19, 20),
        (5, 9, 13, 17),
    )
    for a, b in pairwise(finger)
)
"""Pairs of the 21 keypoints that a line joins: five fingers and the palm (MediaPipe hand landmarks)."""


def colour_of(obj_id: int) -> Colour:
    """The colour of a hand (1 left, 2 right), an object (from 3 up) or the background (0)."""
    if obj_id == LEFT:
        return LEFT_COLOUR
    if obj_id == RIGHT:
        return RIGHT_COLOUR
    return OBJECT_COLOURS[(obj_id - 3) % len(OBJECT_COLOURS)] if obj_id > 0 else STATIC


def colour_of_label(label: str) -> Colour:
    """The colour of a detection, by its words."""
    words = label.lower()
    return next((colour_of(obj) for side, obj in SIDES.items() if side in words), OBJECT_COLOURS[0])
