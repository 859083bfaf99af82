"""Draw what was found onto a frame: masks, boxes, track tails, hand skeletons, object axes, labels."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np
from content import Content, Masked, Span
from numpy.typing import NDArray
from palette import AXIS_COLOURS, CONNECTIONS, SIDES, Colour, colour_of, colour_of_label
from PIL import Image, ImageDraw, ImageFont

from egoworld_runner.lenses import lens_of_row
from egoworld_runner.pixels import from_corner, resized

Picture = NDArray[np.uint8]
SHIFT = 3
"""Fractional bits of drawing coordinates: lines move by eighths of a pixel, so they do not jitter."""

HAND_TINT, OBJECT_TINT = 0.22, 0.42
"""How strongly a mask is tinted; weaker on hands, so that their skeleton stands out."""


@dataclass(frozen=True)
class Label:
    """Text beside something, at px of the painted picture."""

    text: str
    x: float
    y: float
    colour: Colour


def tinted(picture: Picture, inside: NDArray[np.bool_], colour: Colour, share: float) -> None:
    """Mix the pixels ``inside`` with a share of a colour, in place."""
    levels = np.arange(256)[:, None]
    table = (levels * (1 - share) + np.array(colour) * share).astype(np.uint8)
    np.copyto(picture, cv2.LUT(np.ascontiguousarray(picture), table[None]), where=inside[..., None])


def interpolation(scale: float) -> int:
    """How a picture is resized: above half its size two by two pixels hold all of it, at a fifth of an area's time."""
    if scale >= 1:
        return cv2.INTER_CUBIC
    return cv2.INTER_LINEAR if scale > 0.5 else cv2.INTER_AREA


def fixed(points: NDArray[np.float64]) -> NDArray[np.int32]:
    """Points in the fixed-point form that OpenCV draws."""
    return np.round(points * (1 << SHIFT)).astype(np.int32)


def aligned(start: int, stop: int, step: int, size: int) -> slice:
    """Indices start to stop of an axis, two more on each side, and on to the next multiples of ``step``."""
    return slice(max(0, start - 2) // step * step, min(size, -(-(stop + 2) // step) * step))


class Painter:
    """Paints frames of one video at a given width (px). The same frame always gives the same picture."""

    def __init__(self, content: Content, width: int, tail_frames: int, font_px: int) -> None:
        self._content, self._tail = content, tail_frames
        self.width = width
        self.height = max(2, 2 * round(content.clip.height * width / content.clip.width / 2))
        self._scale = np.array([width / content.clip.width, self.height / content.clip.height])
        sizes = ((width, content.clip.width), (self.height, content.clip.height))
        self._steps = tuple(Fraction(painted, full) for painted, full in sizes)
        self._line = max(1, round(width / 400))
        self._font = ImageFont.load_default(font_px)

    def paint(self, rgb: Picture, frame: int, span: Span, *, labels: bool = True) -> Picture:
        """The frame at the painter's size with everything that belongs to it, uint8 [height, width, 3]."""
        picture = cv2.resize(rgb, (self.width, self.height), interpolation=interpolation(self.width / rgb.shape[1]))
        texts = self._masks(picture, frame)
        self._tails(picture, frame, span)
        texts += self._boxes(picture, frame, {label.text for label in texts})
        self._axes(picture, frame)
        texts += self._hands(picture, frame)
        return self._write(picture, texts) if labels else picture

    def _masks(self, picture: Picture, frame: int) -> list[Label]:
        texts: list[Label] = []
        for found in self._content.masked(frame):
            mask, corner = self._scaled(found)
            inside = mask > 0
            if not inside.any():
                continue
            colour, is_hand = colour_of(found.obj_id), found.obj_id in SIDES.values()
            around = picture[corner[1] : corner[1] + mask.shape[0], corner[0] : corner[0] + mask.shape[1]]
            tinted(around, inside, colour, HAND_TINT if is_hand else OBJECT_TINT)
            outline, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE, offset=corner)
            cv2.drawContours(picture, outline, -1, colour, self._line, cv2.LINE_AA)
            if not is_hand:
                largest = max(outline, key=cv2.contourArea).reshape(-1, 2)
                x, y = largest[largest[:, 1].argmin()]
                texts.append(Label(found.label, float(x), float(y) - 4, colour))
        return texts

    def _scaled(self, found: Masked) -> tuple[Picture, tuple[int, int]]:
        """A mask at the painter's size, as far as it reaches, and x, y of its corner.

        What is cut out begins and ends where pixels of both sizes meet, so its pixels are those of the whole.
        """
        (x, y, width, height), (full_height, full_width) = found.box, found.pixels.shape
        columns = aligned(x, x + width, self._steps[0].denominator, full_width)
        rows = aligned(y, y + height, self._steps[1].denominator, full_height)
        corner = int(columns.start * self._steps[0]), int(rows.start * self._steps[1])
        size = int(columns.stop * self._steps[0]) - corner[0], int(rows.stop * self._steps[1]) - corner[1]
        part = np.ascontiguousarray(found.pixels[rows, columns])
        return cv2.resize(part, size, interpolation=cv2.INTER_LINEAR_EXACT), corner

    def _boxes(self, picture: Picture, frame: int, said: set[str]) -> list[Label]:
        """Detections that no mask stands for."""
        texts: list[Label] = []
        masked = said | {found.label for found in self._content.masked(frame)}
        for row in self._content.detections.rows(frame):
            if row["label"] in masked:
                continue
            colour = colour_of_label(row["label"])
            corners = fixed(from_corner(np.array([[row["x0"], row["y0"]], [row["x1"], row["y1"]]]) * self._scale))
            cv2.rectangle(picture, corners[0].tolist(), corners[1].tolist(), colour, 1, cv2.LINE_AA, SHIFT)
            x, y = np.array([row["x0"], row["y0"]]) * self._scale
            texts.append(Label(f"{row['label']} {row['score']:.2f}", x, y - 2, colour))
        return texts

    def _tails(self, picture: Picture, frame: int, span: Span) -> None:
        """Where every track visible now has been lately."""
        table = self._content.tracks.between(max(span.start, frame - self._tail), frame)
        table = table.filter(table["visible"])
        if len(table) == 0:
            return
        columns = {name: table[name].to_numpy() for name in ("track_id", "frame", "x", "y", "obj_id")}
        order = np.lexsort((columns["frame"], columns["track_id"]))
        ids, frames, objects = (columns[name][order] for name in ("track_id", "frame", "obj_id"))
        points = fixed(resized(np.stack([columns["x"][order], columns["y"][order]], axis=1), self._scale))
        starts = np.flatnonzero(np.diff(ids, prepend=-1))
        lasts = np.append(starts[1:], len(ids)) - 1
        now = frames[lasts] == frame
        sizes = {obj: round((1.6 if obj else 1.0) * self._line * (1 << SHIFT)) for obj in np.unique(objects).tolist()}
        ends, closed = points[lasts[now]].tolist(), False
        for start, last, obj, end in zip(
            starts[now].tolist(), lasts[now].tolist(), objects[lasts[now]].tolist(), ends, strict=True
        ):
            colour = colour_of(obj)
            cv2.polylines(picture, [points[start : last + 1]], closed, colour, 1, cv2.LINE_AA, SHIFT)
            cv2.circle(picture, end, sizes[obj], colour, -1, cv2.LINE_AA, SHIFT)

    def _hands(self, picture: Picture, frame: int) -> list[Label]:
        texts: list[Label] = []
        for row in self._content.hands.rows(frame):
            colour = colour_of(SIDES.get(row["side"], 0))
            points = resized(np.array(row["keypoints_2d"], dtype=np.float64).reshape(21, 2), self._scale)
            at = fixed(points)
            for width, tint in ((self._line + 2, (0, 0, 0)), (self._line + 1, colour)):
                for a, b in CONNECTIONS:
                    cv2.line(picture, at[a].tolist(), at[b].tolist(), tint, width, cv2.LINE_AA, SHIFT)
            for point in at:
                cv2.circle(
                    picture,
                    point.tolist(),
                    round((self._line + 0.8) * (1 << SHIFT)),
                    (255, 255, 255),
                    -1,
                    cv2.LINE_AA,
                    SHIFT,
                )
            low = points[points[:, 1].argmin()]
            texts.append(Label(f"{row['side']} {row['score']:.2f}", low[0], low[1] - 6, colour))
        return texts

    def _axes(self, picture: Picture, frame: int) -> None:
        """Each object's axes, an eighth of its distance long, by the lens of the camera trajectory."""
        cameras = self._content.cameras.rows(frame)
        lens = lens_of_row(cameras[0]) if cameras and cameras[0]["intrinsics"] is not None else None
        for row in self._content.objects.rows(frame) if lens else ():
            pose = np.array(row["T_camera_object"]).reshape(4, 4)
            if pose[2, 3] <= 0:
                continue
            ends = pose[:3, 3] + np.concatenate([np.zeros((1, 3)), pose[:3, :3].T * pose[2, 3] / 8])
            if (ends[:, 2] <= 0).any():
                continue
            px = resized(lens.project(ends), self._scale)
            for end, colour in zip(px[1:], AXIS_COLOURS, strict=True):
                cv2.line(
                    picture, fixed(px[0]).tolist(), fixed(end).tolist(), colour, self._line + 1, cv2.LINE_AA, SHIFT
                )

    def _write(self, picture: Picture, texts: list[Label]) -> Picture:
        if not texts:
            return picture
        image = Image.fromarray(picture)
        draw = ImageDraw.Draw(image, "RGBA")
        placed: list[tuple[float, float, float, float]] = []
        for label in texts:
            left, top, right, bottom = draw.textbbox((0, 0), label.text, font=self._font)
            x = min(max(label.x - (right - left) / 2, 3), max(3, self.width - right - 5))
            y = min(max(label.y - bottom, 3), self.height - bottom - 3)
            box = (x + left - 3, y + top - 2, x + right + 3, y + bottom + 2)
            while any(_meet(box, other) for other in placed) and box[1] > 0:
                y -= box[3] - box[1]
                box = (box[0], y + top - 2, box[2], y + bottom + 2)
            placed.append(box)
            draw.rounded_rectangle(box, 3, fill=(12, 14, 18, 170))
            draw.text((x, y), label.text, font=self._font, fill=label.colour)
        return np.asarray(image)


def _meet(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    """Whether two boxes (left, top, right, bottom) overlap."""
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
