"""Objects that a person showed by a box or points, cut out where they were shown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from cutting import ColourCut, grown, smooth, whole
from following import LEAST_PIXELS, Followed, View, colours_of, hidden
from hands import Pixels

from egoworld_runner.annotations.prompts import Prompt
from egoworld_runner.pixels import resized

CORE = 0.6
"""Share of a box's sides that an ellipse has in its middle which is surely object, where no point says what is."""

ROUNDS = 2
"""More rounds give way to what a box has in common with its surroundings: stripes of a wall, a shadow."""

BESIDE = 0.15
"""Surroundings of a box that colours of the background are learnt from, in roots of its area."""

POINT = 0.012
"""Radius of what a point stands for, in widths of the picture."""

AROUND_POINTS = 0.12
"""How far an object may reach beyond points without a box, in widths of the picture."""

LEAST_SHARE = 0.1
"""Share of what may be object that is found of it at least; less, and all of a box's middle is taken."""


@dataclass(frozen=True)
class Shown:
    """A prompt at working size. hint: pixels that are surely object, that may be, and that surely are not."""

    prompt: Prompt
    sure: Pixels
    possible: Pixels
    core: Pixels


def shown_by_frame(prompts: Iterable[Prompt], scale: float, size: tuple[int, int]) -> dict[int, list[Shown]]:
    """Prompts at working size (width, height) by the frame that they are of."""
    found: dict[int, list[Shown]] = {}
    for prompt in prompts:
        found.setdefault(prompt.frame, []).append(_at(prompt, scale, size))
    return found


def _at(prompt: Prompt, scale: float, size: tuple[int, int]) -> Shown:
    width, height = size
    sure, not_it = (_discs(points, scale, size, POINT) for points in (prompt.inside, prompt.outside))
    if prompt.box is None:
        possible = _discs(prompt.inside, scale, size, AROUND_POINTS)
        core = sure
    else:
        x0, y0, x1, y1 = (edge * scale for edge in prompt.box)
        possible, canvas = np.zeros((height, width), bool), np.zeros((height, width), np.uint8)
        possible[
            max(0, round(y0)) : max(round(y0) + 1, round(y1)), max(0, round(x0)) : max(round(x0) + 1, round(x1))
        ] = 1
        middle, sides = ((x0 + x1) / 2 - 0.5, (y0 + y1) / 2 - 0.5), (CORE * (x1 - x0), CORE * (y1 - y0))
        core = cv2.ellipse(canvas, (middle, sides, 0.0), 1, cv2.FILLED).astype(bool) & possible
    return Shown(prompt, (sure if sure.any() else core) & ~not_it, (possible | sure) & ~not_it, core & ~not_it)


def _discs(points: Iterable[tuple[float, float]], scale: float, size: tuple[int, int], radius: float) -> Pixels:
    canvas = np.zeros(size[::-1], np.uint8)
    for x, y in resized(np.array([*points], np.float64).reshape(-1, 2), scale):
        cv2.circle(canvas, (round(x), round(y)), max(1, round(radius * size[0])), 1, cv2.FILLED)
    return canvas.astype(bool)


def begun(view: View, shown: Shown) -> Followed | None:
    """The object's mask where it was shown; None where hands cover it."""
    possible = shown.possible & ~view.hands
    area = int(possible.sum())
    if area < LEAST_PIXELS:
        return None
    sure = shown.sure & ~view.hands
    cutter = ColourCut()
    margin = max(6, round(BESIDE * area**0.5))
    likely = possible if shown.prompt.box else grown(sure, 0.5 * AROUND_POINTS * view.gray.shape[1]) & possible
    cut = cutter.cut(view.rgb, sure, likely, possible, view.hands, ROUNDS, margin, enlarged=True)
    found = whole(cut, sure) & ~view.hands
    if int(found.sum()) < max(LEAST_PIXELS, LEAST_SHARE * area if shown.prompt.box else 0):
        found = shown.core & possible if int((shown.core & possible).sum()) >= LEAST_PIXELS else possible
    shape = smooth(found)
    return Followed(shape, hidden(np.zeros_like(shape), shape, view.hands), cutter, colours_of(view.rgb, found))
