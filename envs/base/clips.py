"""Stage clips: cuts between shots by PySceneDetect's AdaptiveDetector, on the contract's own frame indices."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray
from scenedetect import AdaptiveDetector, FrameTimecode
from scenedetect.scene_manager import compute_downscale_factor

from egoworld_runner import Clip, Inputs, Params, Runner, tables


@dataclass(frozen=True)
class Cut:
    """The first frame of a new shot and how far its change stood out from its neighbours' (capped at 255)."""

    frame: int
    score: float


class ScoredDetector(AdaptiveDetector):
    """The detector, asked by decode index, with the score that made it cut."""

    def cuts(self, frame: int, bgr: NDArray[np.uint8]) -> list[Cut]:
        """Cuts that became certain with this frame; a cut is known ``window_width`` frames after it happens."""
        timecode = FrameTimecode(frame, 30.0)  # the rate is never used: only frame numbers are compared
        found = self.process_frame(timecode, bgr)
        return [Cut(at.frame_num, self._standing_out()) for at in found]

    def _standing_out(self) -> float:
        scores = [score for _, score in self._buffer]
        target = scores.pop(self.window_width)
        mean = sum(scores) / len(scores)
        return min(target / mean, 255.0) if mean > 1e-5 else 255.0


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


def split(clip: Clip, start: int, end: int, longest_s: float) -> Iterator[tuple[int, int]]:
    """Frames [start, end) in the fewest spans of equal frame count that last at most ``longest_s`` each on average."""
    times = clip.index.time_s
    frame_s = 1.0 / clip.fps if clip.fps else 0.0
    seconds = float(times[end - 1] - times[start]) + frame_s
    parts = min(end - start, max(1, math.ceil(seconds / longest_s - 1e-6)))
    edges = [start + (end - start) * part // parts for part in range(parts + 1)]
    yield from pairwise(edges)


def span(clip: Clip, start: int, end: int, shot: int, score: float) -> tables.ClipSpan:
    """The row of frames [start, end); end_s is where the next frame begins."""
    times, frame_s = clip.index.time_s, (1.0 / clip.fps if clip.fps else 0.0)
    end_s = float(times[end]) if end < len(times) else float(times[-1]) + frame_s
    return tables.ClipSpan(
        start_frame=start,
        end_frame=end,
        start_s=float(times[start]),
        end_s=end_s,
        shot=shot,
        score=score,
        width=clip.width,
        height=clip.height,
        fps=clip.fps,
    )
