"""Stage previews: what a person looks at. A contact sheet, an overlay video and a Rerun recording of one video."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack

import cv2
import numpy as np
from contact_sheet import ContactSheet
from content import Content, Span, bounded
from encode import Mp4
from numpy.typing import NDArray
from painter import Painter
from palette import TEXT
from PIL import Image, ImageDraw, ImageFont
from recording import Recording

from egoworld_runner import Clip, Inputs, Params, Runner, tables
from egoworld_runner.video import frames as decoded_frames

STRIP = 30
"""px below the overlay's picture that carry the words."""


class RerunPreviews(Runner):
    """Writes contact_sheet.png, overlay.mp4 and recording.rrd; yields no rows.

    A stage that was not made is simply not drawn. Long videos are cut, see ``bounded``; the notes say to what.
    """

    writes = ()

    def run(self, clip: Clip, inputs: Inputs, params: Params) -> Iterator[tables.Row]:
        """Raises ClipFailed when the video has no clip or a file of its reconstruction cannot be read."""
        cv2.setNumThreads(1)
        content = Content(clip, inputs)
        tail = int(params["tail_frames"])
        width, most = int(params["sheet_width"]), int(params["max_sheet_clips"])
        sheet = ContactSheet(content, width, most, tail)
        overlay = {span.clip_id: stop for span, stop in bounded(content, float(params["max_overlay_s"]))}
        recorded = {span.clip_id: stop for span, stop in bounded(content, float(params["max_recording_s"]))}
        self._film(content, params, overlay, recorded, sheet)
        sheet.write(clip.folder / "contact_sheet.png")
        clip.note("sheet_frames", sheet.frames)
        for name, stops in (("overlay_frames", overlay), ("recording_frames", recorded)):
            clip.note(name, sum(stops[span.clip_id] - span.start for span in content.spans))
        clip.note("frames_of_clips", sum(len(span) for span in content.spans))
        yield from ()

    @staticmethod
    def _film(
        content: Content,
        params: Params,
        overlay: Mapping[str, int],
        recorded: Mapping[str, int],
        sheet: ContactSheet,
    ) -> None:
        """One pass over the frames that the overlay or the recording shows; the sheet takes what it wants of them."""
        clip = content.clip
        width = min(int(params["overlay_width"]), clip.width)
        painter = Painter(content, max(2, width - width % 2), int(params["tail_frames"]), font_px=max(11, width // 60))
        caption = Caption(painter.width)
        with ExitStack() as stack:
            size = (painter.width, painter.height + STRIP)
            film = stack.enter_context(Mp4(clip.folder / "overlay.mp4", *size, clip.fps or 30.0, crf=24))
            recording = stack.enter_context(
                Recording(content, clip.folder / "recording.rrd", int(params["recording_width"]))
            )
            shown_s, times = 0.0, clip.index.time_s
            for span in content.spans:
                begin = float(times[span.start])
                stops = overlay[span.clip_id], recorded[span.clip_id]
                recording.add_clip(span, stops[1] - 1)
                for frame in decoded_frames(clip.path, clip.index, span.start, max(stops)):
                    sheet.show(frame, span)
                    if frame.index < stops[0]:
                        picture = painter.paint(frame.rgb, frame.index, span)
                        film.add(caption.below(picture, content, span, frame.index), shown_s + frame.time_s - begin)
                    if frame.index < stops[1]:
                        recording.add(frame.rgb, frame.index, frame.time_s)
                    clip.progress(frame.index)
                shown_s += (float(times[stops[0]]) if stops[0] < span.end else span.end_s) - begin


class Caption:
    """The line below a frame: which clip, which frame, when."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._font = ImageFont.load_default(max(11, min(16, width // 40)))

    def below(self, picture: NDArray[np.uint8], content: Content, span: Span, frame: int) -> NDArray[np.uint8]:
        """The picture with the line under it."""
        strip = Image.new("RGB", (self._width, STRIP), (17, 20, 26))
        draw = ImageDraw.Draw(strip)
        time_s = float(content.clip.index.time_s[frame])
        left = f"clip {span.number}/{len(content.spans)}  {span.clip_id[:8]}"
        right = f"frame {frame}  ·  {time_s:.2f} s"
        draw.text((10, STRIP / 2), left, font=self._font, fill=TEXT, anchor="lm")
        draw.text((self._width - 10, STRIP / 2), right, font=self._font, fill=TEXT, anchor="rm")
        return np.concatenate([picture, np.asarray(strip)])
