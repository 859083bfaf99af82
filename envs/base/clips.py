"""Stage clips: cuts between shots by PySceneDetect's AdaptiveDetector, on the contract's own frame indices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scenedetect import AdaptiveDetector, FrameTimecode, StatsManager
from scenedetect.scene_manager import compute_downscale_factor

from egoworld_runner import Clip, Inputs, Params, Runner, tables
from egoworld_runner.spans import span, split


@dataclass(frozen=True)
class Cut:
    """The first frame of a new shot and how far its change stood out from its neighbours' (capped at 255)."""

    frame: int
    score: float


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

    Frames are counted, not timed: the detector sees the decode index, which is right for a variable frame rate too.
    """

    writes = (tables.ClipSpan,)

    def run(self, clip: Clip, inputs: Inputs, params: Params) -> Iterator[tables.Row]:
        """Clips in order; a shot longer than max_clip_s is split evenly, a rest below min_shot_frames is left out."""
        cv2.setNumThreads(1)
        cuts = find_cuts(clip, params)
        least = int(params["min_shot_frames"])
        bounds = [Cut(clip.start_frame, 0.0), *cuts]
        ends = [cut.frame for cut in cuts] + [clip.end_frame]
        shots = [(cut, end) for cut, end in zip(bounds, ends, strict=True) if end - cut.frame >= least or not cuts]
        count = 0
        for shot, (first, end) in enumerate(shots):
            for start, stop in split(clip, first.frame, end, float(params["max_clip_s"])):
                count += 1
                yield span(clip, start, stop, shot, first.score)
        clip.note("shots", len(shots))
        clip.note("clips", count)
        clip.note("frames_left_out", len(clip) - sum(end - first.frame for first, end in shots))


def find_cuts(clip: Clip, params: Params) -> list[Cut]:
    """Every cut of a video in one pass over its frames, scaled down as PySceneDetect does by default."""
    detector = ScoredDetector(
        adaptive_threshold=float(params["adaptive_threshold"]),
        min_scene_len=int(params["min_shot_frames"]),
        window_width=int(params["window"]),
        min_content_val=float(params["min_content_val"]),
    )
    factor = compute_downscale_factor(max(clip.width, clip.height))
    size = (max(1, round(clip.width / factor)), max(1, round(clip.height / factor)))
    cuts: list[Cut] = []
    for frame in clip.frames():
        small = cv2.resize(frame.rgb, size, interpolation=cv2.INTER_LINEAR) if factor > 1 else frame.rgb
        cuts += detector.cuts(frame.index, cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
        clip.progress(frame.index)
    return cuts
