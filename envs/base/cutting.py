"""GrabCut (Rother et al. 2004) with colour models that live on from frame to frame."""

from __future__ import annotations

import cv2
import numpy as np
from hands import Array, Picture, Pixels
from numpy.typing import NDArray

MOST_PIXELS = 16_000
"""Larger cut-outs are reduced to this many pixels, so that a cut costs about 10 ms whatever the video's size."""

MARGIN = 10
"""px of surely foreign surroundings that the background's colours are learnt from."""


def window(pixels: Pixels, margin: int) -> tuple[slice, slice] | None:
    """Rows and columns that hold all set pixels, wider by ``margin``; None when none is set."""
    rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
    if not len(rows):
        return None
    height, width = pixels.shape
    return (
        slice(max(0, int(rows[0]) - margin), min(height, int(rows[-1]) + margin + 1)),
        slice(max(0, int(columns[0]) - margin), min(width, int(columns[-1]) + margin + 1)),
    )


def disc(radius: float) -> Picture:
    """A round structuring element of ``radius`` px, at least 1."""
    size = 2 * max(1, round(radius)) + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)).astype(np.uint8)


def grown(pixels: Pixels, radius: float) -> Pixels:
    """Dilated by ``radius`` px, eroded when it is negative; computed around the set pixels only."""
    result = np.zeros_like(pixels)
    view = window(pixels, int(abs(radius)) + 3)
    if view is not None:
        result[view] = _grown(pixels[view], radius)
    return result


def _grown(pixels: Pixels, radius: float) -> Pixels:
    if abs(radius) < 4:
        change = cv2.dilate if radius > 0 else cv2.erode
        return change(pixels.astype(np.uint8), disc(abs(radius))).astype(bool)
    far = (~pixels if radius > 0 else pixels).astype(np.uint8)
    distance = cv2.distanceTransform(far, cv2.DIST_L2, 3)
    return distance <= radius if radius > 0 else distance > -radius


class ColourCut:
    """Splits one thing from its background; each cut learns the two colour models again, from the last ones."""

    def __init__(self) -> None:
        self._background: NDArray[np.float64] = np.zeros((1, 65))
        self._foreground: NDArray[np.float64] = np.zeros((1, 65))
        self._learnt = False

    def copy(self) -> ColourCut:
        """The same models, to go another way from here."""
        other = ColourCut()
        other._background, other._foreground = self._background.copy(), self._foreground.copy()
        other._learnt = self._learnt
        return other

    def cut(
        self,
        rgb: Picture,
        sure: Pixels,
        likely: Pixels,
        possible: Pixels,
        covered: Pixels | None = None,
        rounds: int = 1,
        margin: int = MARGIN,
        enlarged: bool = False,
    ) -> Pixels:
        """Pixels of the thing. sure: inside; likely: inside unless colour objects; not possible: outside.

        covered: pixels of something in front, whose colours belong to neither. margin: px of surroundings that the
        background is learnt from. enlarged: cut a small thing between pixels. Gives ``likely`` back where there is too
        little to learn from.
        """
        view = window(possible | likely, margin)
        if view is None:
            return likely
        labels = np.full(likely.shape, cv2.GC_BGD, np.uint8)
        labels[possible] = cv2.GC_PR_BGD
        labels[likely] = cv2.GC_PR_FGD
        labels[sure] = cv2.GC_FGD
        image, small = rgb[view], labels[view]
        if covered is not None and covered[view].any():
            image = without(image, covered[view], (small == cv2.GC_BGD) & ~covered[view])
        factor = (MOST_PIXELS / small.size) ** 0.5
        if factor < 1 or enlarged:
            size = (max(8, round(small.shape[1] * factor)), max(8, round(small.shape[0] * factor)))
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC)
            small = cv2.resize(small, size, interpolation=cv2.INTER_NEAREST_EXACT)
        inside = (small == cv2.GC_FGD) | (small == cv2.GC_PR_FGD)
        if inside.sum() < 20 or (~inside).sum() < 20:
            return likely
        mode = cv2.GC_EVAL if self._learnt else cv2.GC_INIT_WITH_MASK
        small = np.ascontiguousarray(small)
        cv2.setRNGSeed(0)  # the first cut clusters colours from random starts: one object must not change another
        cv2.grabCut(np.ascontiguousarray(image), small, None, self._background, self._foreground, rounds, mode)
        self._learnt = True
        found = ((small == cv2.GC_FGD) | (small == cv2.GC_PR_FGD)).astype(np.float32)
        if factor < 1 or enlarged:
            found = cv2.resize(found, likely[view].shape[::-1], interpolation=cv2.INTER_LINEAR)
        result = np.zeros_like(likely)
        result[view] = found > 0.5
        return result


def without(image: Picture, covered: Pixels, background: Pixels) -> Picture:
    """A picture whose covered pixels carry colours of its background instead, taken from it in turn."""
    colours = image[background]
    if not len(colours):
        return image
    clean = image.copy()
    clean[covered] = colours[np.linspace(0, len(colours) - 1, int(covered.sum())).astype(int)]
    return clean


def whole(pixels: Pixels, seed: Pixels | None = None) -> Pixels:
    """The pieces that touch ``seed``, else the largest piece, with its holes filled."""
    canvas = np.zeros(pixels.shape, np.uint8)
    view = window(pixels, 1)
    if view is None:
        return canvas.astype(bool)
    part = np.ascontiguousarray(pixels[view], np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(part, connectivity=8)
    touched = labels[seed[view] & pixels[view]] if seed is not None else np.zeros(0, np.int32)
    keep = np.zeros(len(stats), np.uint8)
    keep[touched if len(touched) else 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())] = 1
    outlines, _ = cv2.findContours(keep[labels], cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(canvas, outlines, -1, 1, cv2.FILLED, offset=(view[1].start, view[0].start))
    return canvas.astype(bool)


def smooth(pixels: Pixels) -> Array:
    """A mask as the chance of each pixel, 0-1, its outline softened by a pixel."""
    return cv2.GaussianBlur(pixels.astype(np.float32), (0, 0), 1.0)
