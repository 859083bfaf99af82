"""The contact sheet: one picture that says what was found in a video, clip by clip."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from content import Content, Span
from numpy.typing import NDArray
from painter import Painter
from palette import BACKGROUND, MISSING, MUTED, RULE, SIDES, TEXT, Colour, colour_of
from PIL import Image, ImageDraw, ImageFont
from plots import camera_plot, facts, joints_plot

from egoworld_runner import Clip, Frame
from egoworld_runner.video import frames as decoded_frames

MARGIN, GAP, SIDE = 36, 8, 372
TILE_HEIGHT = 168
"""px; the width of a tile follows from the video's shape."""


@dataclass(frozen=True)
class Layout:
    """Where things go: tiles per row, rows per clip, size of a tile, px."""

    columns: int
    rows: int
    tile_width: int
    tile_height: int

    @classmethod
    def of(cls, clip: Clip, clips: int, width: int) -> Layout:
        """Tiles fill the width left of the plots; up to six clips get two rows each."""
        room = width - 2 * MARGIN - SIDE - GAP
        columns = min(10, max(3, round(room / (TILE_HEIGHT * clip.width / clip.height + GAP))))
        tile = (room - columns * GAP) // columns
        return cls(columns, 2 if clips <= 6 else 1, tile, max(2, 2 * round(tile * clip.height / clip.width / 2)))

    @property
    def block_height(self) -> int:
        return self.rows * self.tile_height + (self.rows - 1) * GAP


class ContactSheet:
    """The picture of one video, ``width`` px wide; made from frames that it is shown, and from others that it seeks."""

    def __init__(self, content: Content, width: int, max_clips: int, tail_frames: int) -> None:
        self._content, self._width = content, width
        self._shown = evenly(content.spans, max_clips)
        self._layout = Layout.of(content.clip, len(self._shown), width)
        self._painter = Painter(content, self._layout.tile_width * 2, tail_frames, font_px=22)
        self._picks = {span.clip_id: self._picked(span) for span in self._shown}
        self._tiles: dict[int, Image.Image] = {}

    @property
    def frames(self) -> int:
        """How many frames it shows."""
        return sum(len(picks) for picks in self._picks.values())

    def _picked(self, span: Span) -> list[int]:
        """The middles of equal parts of the clip; each frame at most once."""
        wanted = min(len(span), self._layout.columns * self._layout.rows)
        return (span.start + ((np.arange(wanted) + 0.5) * len(span) / wanted).astype(int)).tolist()

    def show(self, frame: Frame, span: Span) -> None:
        """Take a frame of a clip if the sheet wants it, so that it need not be decoded again."""
        if frame.index in self._picks.get(span.clip_id, ()):
            picture = self._painter.paint(frame.rgb, frame.index, span)
            self._tiles[frame.index] = _tile(picture, f"{frame.time_s:.2f} s", self._layout)

    def write(self, path: Path) -> None:
        """Draw it as PNG."""
        layout, width = self._layout, self._width
        top = 176
        step = 44 + layout.block_height + 26
        sheet = Image.new("RGB", (width, top + step * len(self._shown) + 14), BACKGROUND)
        draw = ImageDraw.Draw(sheet)
        _header(draw, self._content, len(self._shown), width)
        for number, span in enumerate(self._shown):
            y = top + step * number
            draw.text((MARGIN, y), f"Clip {span.number}", font=_font(22), fill=TEXT)
            after = MARGIN + draw.textlength(f"Clip {span.number}", font=_font(22)) + 16
            about = f"{span.clip_id[:8]}  ·  {facts(self._content, span)}"
            draw.text((after, y + 6), about, font=_font(15), fill=MUTED)
            for at, tile in enumerate(self._tiles_of(span)):
                row, column = divmod(at, layout.columns)
                place = (MARGIN + column * (layout.tile_width + GAP), y + 36 + row * (layout.tile_height + GAP))
                sheet.paste(tile, place)
            _plots(sheet, self._content, span, layout, width, y + 36)
            missing = _fitting(draw, self._content.missing(span), width - 2 * MARGIN)
            draw.text((MARGIN, y + 42 + layout.block_height), missing, font=_font(14), fill=MISSING)
        sheet.save(path)

    def _tiles_of(self, span: Span) -> Iterator[Image.Image]:
        """The tiles of a clip; frames that were not shown are decoded."""
        picks = self._picks[span.clip_id]
        missing = [pick for pick in picks if pick not in self._tiles]
        for frame in _decoded(self._content.clip, missing) if missing else ():
            self.show(frame, span)
        yield from (self._tiles[pick] for pick in picks)


def _fitting(draw: ImageDraw.ImageDraw, text: str, width: int) -> str:
    """A text, or as much of it as fits."""
    while draw.textlength(text, font=_font(14)) > width:
        text = f"{text[:-2]}…"
    return text


def evenly(spans: list[Span], most: int) -> list[Span]:
    """At most ``most`` of the clips, evenly spaced, the first and the last among them."""
    if len(spans) <= most:
        return spans
    return [spans[at] for at in np.unique(np.linspace(0, len(spans) - 1, max(1, most)).round().astype(int))]


def _decoded(clip: Clip, picks: list[int]) -> Iterator[Frame]:
    """Some frames in order: by one pass over all between them, or by seeking to each, whichever decodes fewer."""
    seek_points = np.flatnonzero(clip.index.key)
    before = seek_points[np.maximum(np.searchsorted(seek_points, picks, side="right") - 1, 0)]
    if (np.array(picks) - before).sum() < picks[-1] - before[0]:
        for pick in picks:
            yield from decoded_frames(clip.path, clip.index, pick, pick + 1)
        return
    wanted = set(picks)
    yield from (f for f in decoded_frames(clip.path, clip.index, picks[0], picks[-1] + 1) if f.index in wanted)


def _tile(picture: NDArray[np.uint8], stamp: str, layout: Layout) -> Image.Image:
    tile = Image.fromarray(picture).resize((layout.tile_width, layout.tile_height), Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(tile, "RGBA")
    x, y = layout.tile_width - 6, layout.tile_height - 5
    left, top, right, bottom = draw.textbbox((x, y), stamp, font=_font(12), anchor="rs")
    draw.rounded_rectangle((left - 4, top - 3, right + 4, bottom + 3), 3, fill=(12, 14, 18, 170))
    draw.text((x, y), stamp, font=_font(12), fill=TEXT, anchor="rs")
    return tile


def _plots(sheet: Image.Image, content: Content, span: Span, layout: Layout, width: int, y: int) -> None:
    """Above each other beside two rows of frames, next to each other beside one."""
    x = width - MARGIN - SIDE
    if layout.rows == 2:
        height = (layout.block_height - GAP) // 2
        sheet.paste(camera_plot(content, span, SIDE, height), (x, y))
        sheet.paste(joints_plot(content, span, SIDE, layout.block_height - height - GAP), (x, y + height + GAP))
        return
    half = (SIDE - GAP) // 2
    sheet.paste(camera_plot(content, span, half, layout.block_height), (x, y))
    sheet.paste(joints_plot(content, span, half, layout.block_height), (x + half + GAP, y))


def _header(draw: ImageDraw.ImageDraw, content: Content, shown: int, width: int) -> None:
    clip = content.clip
    draw.text((MARGIN, 28), clip.video, font=_font(34), fill=TEXT)
    rate = f"{clip.fps:.2f} fps" + (" (variable)" if clip.index.variable else "")
    count = f"{len(content.spans)} clip{'' if len(content.spans) == 1 else 's'}"
    if shown < len(content.spans):
        count += f", {shown} shown"
    whole = content.spans[-1].end_s if len(clip.times) < 2 else float(clip.times[-1]) + 1 / (clip.fps or 1)
    parts = [f"{clip.width} x {clip.height} px", rate, f"{whole:.2f} s", f"{len(clip)} frames", count]
    draw.text((MARGIN, 78), "  ·  ".join(parts), font=_font(18), fill=MUTED)
    x = float(MARGIN)
    for colour, text in _legend(content):
        draw.rounded_rectangle((x, 117, x + 14, 131), 4, fill=colour)
        draw.text((x + 22, 124), text, font=_font(15), fill=TEXT, anchor="lm")
        x += 22 + draw.textlength(text, font=_font(15)) + 28
        if x > width - MARGIN - 120:
            break
    draw.line((MARGIN, 152, width - MARGIN, 152), fill=RULE, width=1)


def _legend(content: Content) -> Iterator[tuple[Colour, str]]:
    """Colours with what they stand for and how often it was found."""
    frames = sum(len(span) for span in content.spans)
    hands, masks = content.hands.frames_by("side"), content.masks.frames_by("obj_id")

    def share(found: int) -> str:
        return f"{found / frames if frames else 0.0:.0%}"

    for side, obj in SIDES.items():
        yield colour_of(obj), f"{side} hand {share(hands[side])}"
    for obj, label in content.labels.items():
        if obj not in SIDES.values():
            yield colour_of(obj), f"{label} (obj_id {obj}) {share(masks[obj])}"
    if len(content.tip_errors):
        error = np.median(content.tip_errors) * 1000
        yield MUTED, f"robot {', '.join(content.robot_names)}, median tip error {error:.1f} mm"


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
