"""Stage clips: cuts between shots by PySceneDetect's AdaptiveDetector, on the contract's own frame indices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scenedetect import AdaptiveDetector, FrameTimecode, StatsManager
from scenedetect.scene_manager import compute_downscale_factor

from egoworld_runner import Clip, Inputs, Params, Runner, tables
from egoworld_runner.spans import Cut, clips_of
from egoworld_runner.views import LOOK, SIZE, Thumbnail, Views, repeated

STANDS_S = 0.3
"""A picture that is shown for longer stands; cameras that repeat pictures in low light give more than 3 a second."""


class LastRatio(StatsManager):
    """Of all that a detector measures only the last ratio is kept: the memory needed does not grow with the video."""

    def __init__(self, key: str) -> None:
        super().__init__()
        self._key = key
        self.value = 0.0

    def set_metrics(self, timecode: int | FrameTimecode, metric_kv_dict: dict[str, Any]) -> None:
        """Called by the detector for every frame."""
        self.value = metric_kv_dict.get(self._key, self.value)


class ScoredDetector(AdaptiveDetector):
    """The detector, asked by decode index, with the ratio that made it cut."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._ratio = LastRatio(self.get_metrics()[-1])
        self.stats_manager = self._ratio

    def cuts(self, frame: int, bgr: NDArray[np.uint8]) -> list[Cut]:
        """Cuts that became certain with this frame; a cut is known ``window_width`` frames after it happens."""
        timecode = FrameTimecode(frame, 30.0)  # the rate is never used: only frame numbers are compared
        return [Cut(at.frame_num, self._ratio.value) for at in self.process_frame(timecode, bgr)]


class AdaptiveShots(Runner):
    """Shots by the ratio of a frame's change to that of its neighbours, so that a moving camera is no cut.

    Each take is searched by itself: a gap in time or damage ends a clip. Repeated pictures do not count, and where
    the same place is seen on both sides there is no cut. Frames are counted, which is right for a variable frame rate.
    """

    writes = (tables.ClipSpan,)

    def run(self, clip: Clip, inputs: Inputs, params: Params) -> Iterator[tables.Row]:
        """Clips in order; a shot longer than max_clip_s is split evenly, a rest below min_shot_frames is left out."""
        cv2.setNumThreads(1)
        yield from clips_of(clip, params, lambda take: find_cuts(take, clip.progress, params))


def find_cuts(take: Clip, progress: Callable[[int], None], params: Params) -> list[Cut]:
    """Every cut of a take in one pass over its frames, scaled down as PySceneDetect does by default."""
    detector = ScoredDetector(
        adaptive_threshold=float(params["adaptive_threshold"]),
        min_scene_len=0,
        window_width=int(params["window"]),
        min_content_val=float(params["min_content_val"]),
    )
    factor = compute_downscale_factor(max(take.width, take.height))
    size = (max(1, round(take.width / factor)), max(1, round(take.height / factor)))
    views, found, waiting = Views(), list[Cut](), list[Cut]()
    for number, rgb, view in pictures(take, progress):
        small = cv2.resize(rgb, size, interpolation=cv2.INTER_LINEAR) if factor > 1 else rgb
        waiting += detector.cuts(number, np.ascontiguousarray(small[..., ::-1], np.uint8))
        views.add(number, view)
        while waiting and views.behind(waiting[0].frame) >= LOOK:
            found += [cut for cut in [waiting.pop(0)] if views.differ(cut.frame)]
    return found + [cut for cut in waiting if views.differ(cut.frame)]


def thumbnail(rgb: NDArray[np.uint8]) -> Thumbnail:
    """A small copy of a picture; cv2 is the fastest that there is here, and every frame needs one."""
    return cv2.resize(rgb, SIZE, interpolation=cv2.INTER_AREA).astype(np.float32)


def pictures(take: Clip, progress: Callable[[int], None]) -> Iterator[tuple[int, NDArray[np.uint8], Thumbnail]]:
    """Number, pixels and thumbnail of the frames of a take without repeated ones, unless a picture stands for STANDS_S.

    At the end the last one comes twice if it stands, so that a cut before it is seen.
    """
    held: tuple[float, Thumbnail] | None = None
    left_out: tuple[int, NDArray[np.uint8], Thumbnail] | None = None
    for frame in take.frames():
        view, left_out = thumbnail(frame.rgb), None
        again = held is not None and repeated(held[1], view)
        if held is None or not again:
            held = frame.time_s, view
        if again and frame.time_s - held[0] < STANDS_S:
            left_out = frame.index, frame.rgb, view
        else:
            yield frame.index, frame.rgb, view
        progress(frame.index)
    if left_out is not None:
        yield left_out
        yield left_out[0] + 1, *left_out[1:]
