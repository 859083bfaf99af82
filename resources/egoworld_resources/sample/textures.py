"""Procedural textures that never repeat: grain, stains, prints. RGB, uint8, rows from the top."""

import string
from itertools import pairwise

import cv2
import numpy as np

from egoworld_resources.sample.geometry import Array, Floats, Image

Colour = tuple[float, float, float]
LETTERS = np.array(list(string.ascii_uppercase + string.digits))


def grain(rng: np.random.Generator, height: int, width: int, cells: int, octaves: int, stretch: float = 1.0) -> Floats:
    """Fractal value noise [height, width] around 0, about -1..1; `cells` across the coarsest octave."""
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        columns = min(max(2, round(cells * 2**octave)), width)
        rows = min(max(2, round(cells * stretch * 2**octave * height / width)), height)
        lattice = rng.standard_normal((rows, columns)).astype(np.float32)
        total += np.asarray(cv2.resize(lattice, (width, height), interpolation=cv2.INTER_CUBIC)) * 0.62**octave
    return (total / 2.2).astype(np.float32)


def to_image(values: Floats | Array) -> Image:
    """Clip to 0..255 and round."""
    return np.clip(values + 0.5, 0, 255).astype(np.uint8)


def tint(base: Colour, noise: Floats, depth: float) -> Array:
    """A colour made lighter and darker by noise: [h, w, 3], 0..255."""
    return np.asarray(base, np.float64) * (1.0 + depth * noise[..., None])


def shade_of(rng: np.random.Generator, base: Colour, spread: float) -> Colour:
    """A colour near `base`."""
    r, g, b = np.clip(np.asarray(base) * rng.uniform(1 - spread, 1 + spread) + rng.normal(0, 18 * spread, 3), 4, 250)
    return float(r), float(g), float(b)


def surface(rng: np.random.Generator, height: int, width: int, base: Colour, marks: int, size: float) -> Image:
    """A worn, mottled surface with `marks` stains and flecks, the largest `size` pixels across."""
    canvas = to_image(tint(base, grain(rng, height, width, 5, 7), 0.22))
    for _ in range(marks):
        at = (int(rng.integers(width)), int(rng.integers(height)))
        reach = max(1.0, size * float(rng.beta(1.0, 4.0)))
        axes = (round(reach), max(1, round(reach * float(rng.uniform(0.25, 1.0)))))
        colour = shade_of(rng, base, 0.55)
        turn, thickness = float(rng.uniform(0, 180)), -1 if rng.random() < 0.7 else 2
        cv2.ellipse(canvas, at, axes, turn, 0, float(rng.choice([360, 360, 210])), colour, thickness, cv2.LINE_AA)
    return to_image(canvas * (1.0 + 0.10 * grain(rng, height, width, 40, 4)[..., None]))


def planks(rng: np.random.Generator, height: int, width: int, base: Colour, rows: int) -> Image:
    """Boards laid along the image's x axis, each with its own tone, grain and knots."""
    out = np.zeros((height, width, 3), np.float32)
    for top, bottom in pairwise(int(edge) for edge in np.linspace(0, height, rows + 1)):
        seams = [0, *sorted(int(x) for x in rng.integers(width // 8, width, 2)), width]
        for left, right in pairwise(seams):
            if right - left < 4:
                continue
            fibre = grain(rng, bottom - top, right - left, 4, 5, stretch=7.0)
            out[top:bottom, left:right] = tint(shade_of(rng, base, 0.25), fibre, 0.22)
            out[top:bottom, left : left + 2] *= 0.55
        out[top : top + 2] *= 0.5
    canvas = to_image(out)
    for _ in range(rows * 9):
        at = (int(rng.integers(width)), int(rng.integers(height)))
        r = int(rng.integers(2, max(4, height // (rows * 14))))
        cv2.ellipse(canvas, at, (2 * r, r), 0, 0, 360, shade_of(rng, base, 0.6), -1, cv2.LINE_AA)
    return to_image(canvas * (1.0 + 0.08 * grain(rng, height, width, 60, 3)[..., None]))


def printed(rng: np.random.Generator, height: int, width: int, base: Colour, ink: Colour) -> Image:
    """A label, cover or poster: shapes, bars and lettering over a mottled ground."""
    canvas = to_image(tint(base, grain(rng, height, width, 3, 5), 0.14))
    short = min(height, width)
    colours = [ink, shade_of(rng, ink, 0.5), shade_of(rng, base, 0.5), (235, 232, 220), (38, 40, 48)]
    for _ in range(16):
        colour = colours[int(rng.integers(len(colours)))]
        x, y = int(rng.integers(width)), int(rng.integers(height))
        reach = max(3, round(short * float(rng.uniform(0.04, 0.2))))
        kind = int(rng.integers(3))
        if kind == 0:
            cv2.circle(canvas, (x, y), reach, colour, -1, cv2.LINE_AA)
        elif kind == 1:
            spokes = rng.uniform(0.4, 1.0, int(rng.integers(3, 8)))
            turns = np.linspace(0, 2 * np.pi, len(spokes), endpoint=False) + rng.uniform(0, 6)
            star = np.stack([x + reach * spokes * np.cos(turns), y + reach * spokes * np.sin(turns)], 1)
            cv2.fillPoly(canvas, [star.round().astype(np.int32)], colour, cv2.LINE_AA)
        else:
            cv2.rectangle(canvas, (x, y), (x + 2 * reach, y + max(2, reach // 3)), colour, -1)
    for _ in range(7):
        word = "".join(rng.choice(LETTERS, int(rng.integers(3, 9))))
        at = (int(rng.integers(-width // 12, width * 2 // 3)), int(rng.integers(height // 10, height)))
        scale = short / 300 * float(rng.uniform(0.5, 1.7))
        colour = colours[int(rng.integers(len(colours)))]
        cv2.putText(canvas, word, at, cv2.FONT_HERSHEY_DUPLEX, scale, colour, max(1, round(2 * scale)), cv2.LINE_AA)
    edge = max(2, short // 40)
    cv2.rectangle(canvas, (0, 0), (width - 1, height - 1), ink, edge)
    return to_image(canvas * (1.0 + 0.06 * grain(rng, height, width, 30, 4)[..., None]))
