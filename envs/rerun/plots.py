"""Two small plots beside a clip's frames: the camera's path from above and the robot's joints over time."""

from __future__ import annotations

import cv2
import numpy as np
import pyarrow as pa
from content import Content, Span, share_of_frames
from numpy.typing import NDArray
from palette import MUTED, PANEL, RULE, SIDES, TEXT, Colour, colour_of
from PIL import Image, ImageDraw, ImageFont

from egoworld_runner.tables import ROTATION, STATIC

OVER = 2
"""Plots are drawn twice as large and scaled down: PIL's lines have no smooth edges of their own."""

START: Colour = (110, 205, 120)
END: Colour = (250, 110, 90)
PATHLESS = {ROTATION: "it only turns: no path is known", STATIC: "it stands still"}


def camera_plot(content: Content, span: Span, width: int, height: int) -> Image.Image:
    """The registered camera positions of a clip on the ground plane of its reconstruction (x to the right, z up)."""
    frames, poses = content.camera_path(span)
    if len(frames) == 0:
        return _empty(width, height, "camera from above", "no camera trajectory")
    if content.camera_kind(span) in PATHLESS:
        return _empty(width, height, "camera from above", PATHLESS[content.camera_kind(span)])
    where = poses[:, (0, 2), 3]
    length = float(np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1).sum())
    share = len(frames) / max(1, len(content.cameras.between(span.start, span.end - 1)))
    panel, draw = _panel(width, height, "camera from above", f"path {length:.2f}, {share:.0%} registered")
    cloud = content.points(span)
    box = _box(width, height)
    place = _fit(where, cloud[0][:, (0, 2)] if cloud else None, box)
    if cloud:
        dots = place(cloud[0][:, (0, 2)])
        inside = (dots > (box[0], box[1])).all(axis=1) & (dots < (box[2], box[3])).all(axis=1)
        for (x, y), colour in list(zip(dots[inside], cloud[1][inside], strict=True))[:4000]:
            dim = tuple(int(0.45 * c + 0.55 * p) for c, p in zip(colour, PANEL, strict=True))
            draw.rectangle((x, y, x + OVER - 1, y + OVER - 1), fill=dim)
    path = place(where)
    for at in range(len(path) - 1):
        mix = at / max(1, len(path) - 1)
        colour = tuple(round(a + (b - a) * mix) for a, b in zip(START, END, strict=True))
        draw.line((*path[at], *path[at + 1]), fill=colour, width=2 * OVER)
    for (x, y), colour in ((path[0], START), (path[-1], END)):
        draw.ellipse((x - 4 * OVER, y - 4 * OVER, x + 4 * OVER, y + 4 * OVER), fill=colour, outline=TEXT)
    return _smaller(panel, width, height)


def joints_plot(content: Content, span: Span, width: int, height: int) -> Image.Image:
    """Joint positions (rad) over the clip, right and left hand in the hands' colours; gaps stay gaps."""
    curves = {side: content.joints(span, side) for side in SIDES}
    there = [positions for _, positions, _ in curves.values() if positions.size]
    if not there:
        return _empty(width, height, "robot joints", "no robot trajectory")
    low, high = min(float(p.min()) for p in there), max(float(p.max()) for p in there)
    span_rad = max(high - low, 1e-3)
    counts = ", ".join(f"{side} {len(names)}" for side, (_, _, names) in curves.items() if names)
    panel, draw = _panel(width, height, "robot joints", f"{counts} joints; {low:.2f} to {high:.2f} rad")
    left, top, right, bottom = _box(width, height)
    times = content.clip.index.time_s
    seconds = max(1e-6, span.end_s - span.start_s)
    for side, (frames, positions, names) in curves.items():
        base = np.array(colour_of(SIDES[side]))
        x = left + (times[frames] - span.start_s) / seconds * (right - left)
        pieces = np.split(np.arange(len(frames)), np.flatnonzero(np.diff(frames) > 1) + 1)
        for joint in range(len(names)):
            colour = tuple((base * (1.0 - 0.5 * joint / max(1, len(names)))).astype(int))
            y = bottom - (positions[:, joint] - low) / span_rad * (bottom - top)
            for piece in pieces:
                if len(piece) > 1:
                    draw.line([(float(x[i]), float(y[i])) for i in piece], fill=colour, width=OVER + 1)
    return _smaller(panel, width, height)


def facts(content: Content, span: Span) -> str:
    """One line of numbers on a clip."""
    count = len(span)

    def share(rows: pa.Table) -> str:
        return f"{share_of_frames(rows, count):.0%}"

    parts = [f"shot {span.shot}", f"{span.start_s:.2f} to {span.end_s:.2f} s", f"{count} frames"]
    hands = content.hands.between(span.start, span.end - 1)
    parts.append(f"hands in {share(hands)} of frames")
    masks = content.masks.between(span.start, span.end - 1)
    objects = {obj for obj in masks["obj_id"].unique().to_pylist() if obj > max(SIDES.values())}
    parts.append(f"{len(objects)} object{'' if len(objects) == 1 else 's'} with a mask")
    poses = content.objects.between(span.start, span.end - 1)
    if len(poses):
        parts.append(f"object pose in {share(poses)}")
    return "  ·  ".join(parts)


def _box(width: int, height: int) -> tuple[int, int, int, int]:
    return 12 * OVER, 30 * OVER, (width - 12) * OVER, (height - 12) * OVER


def _panel(width: int, height: int, title: str, note: str) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    panel = Image.new("RGB", (width * OVER, height * OVER), PANEL)
    draw = ImageDraw.Draw(panel)
    draw.rectangle((0, 0, width * OVER - 1, height * OVER - 1), outline=RULE, width=OVER)
    draw.text((12 * OVER, 8 * OVER), title, font=ImageFont.load_default(13 * OVER), fill=TEXT)
    draw.text(((width - 12) * OVER, 9 * OVER), note, font=ImageFont.load_default(11 * OVER), fill=MUTED, anchor="ra")
    return panel, draw


def _empty(width: int, height: int, title: str, why: str) -> Image.Image:
    panel, draw = _panel(width, height, title, "")
    draw.text(
        (width * OVER / 2, height * OVER / 2), why, font=ImageFont.load_default(13 * OVER), fill=MUTED, anchor="mm"
    )
    return _smaller(panel, width, height)


def _smaller(panel: Image.Image, width: int, height: int) -> Image.Image:
    return Image.fromarray(cv2.resize(np.asarray(panel), (width, height), interpolation=cv2.INTER_AREA))


class _Fit:
    """Map ground-plane points into a box with equal scales; z grows upwards."""

    def __init__(self, points: NDArray[np.floating], box: tuple[int, int, int, int]) -> None:
        low, high = points.min(axis=0), points.max(axis=0)
        left, top, right, bottom = box
        extent = np.maximum(high - low, 1e-9)
        self._scale = float(min((right - left) / extent[0], (bottom - top) / extent[1]))
        self._middle = (low + high) / 2
        self._centre = np.array([(left + right) / 2, (top + bottom) / 2])

    def __call__(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        return self._centre + (points - self._middle) * (self._scale, -self._scale)


def _fit(path: NDArray[np.float64], cloud: NDArray[np.float32] | None, box: tuple[int, int, int, int]) -> _Fit:
    """A view that shows the whole path, and of the cloud what lies no farther from it than ten times its size."""
    low, high = path.min(axis=0), path.max(axis=0)
    if cloud is not None:
        reach = max(float((high - low).max()), 1e-9) * 10
        near = cloud[((cloud > low - reach) & (cloud < high + reach)).all(axis=1)]
        if len(near):
            inner = np.quantile(near, (0.05, 0.95), axis=0)
            low, high = np.minimum(low, inner[0]), np.maximum(high, inner[1])
    return _Fit(np.stack([low, high]), box)
