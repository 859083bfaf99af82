"""MediaPipe Hands: 21 joints of each hand, in pixels and in metres."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from egoworld_runner import ClipFailed, Frame, Params
from egoworld_runner.hands import HandRunner, Sighting

BLANK = np.zeros((64, 64, 3), np.uint8)


class MediaPipeHands(HandRunner):
    """Hands of a clip, followed from frame to frame; every clip starts with no memory of another.

    keypoints_2d: px, MediaPipe's joint order (0 wrist, 1-4 thumb, 5-8 index ... 17-20 little finger), possibly outside
    the picture. MediaPipe's shares of width and height count from the centre of the first pixel, as the contract does:
    the joints of a picture and of the same picture turned by 180 degrees add up to width - 1 and height - 1.
    keypoints_3d: MediaPipe's world landmarks, m, in axes parallel to the camera's (x right, y down, z forward), from an
    origin at the hand's approximate centre, in the size of an average hand: neither the distance to the camera nor the
    person's own hand size is in them. score: the model's probability, in this frame, of the side that the row names;
    below 0.5 where arms and the frames around it say otherwise.
    Source: Zhang et al., "MediaPipe Hands: On-device Real-time Hand Tracking", 2020, arXiv:2006.10214.
    """

    remembers = True
    knows_skin = True

    def setup(self, weights: Mapping[str, Path], device: str) -> None:
        """Import the library, whose wheel holds the models; ``weights`` names those files so that they are verified."""
        os.environ.update(GLOG_minloglevel="3", TF_CPP_MIN_LOG_LEVEL="3")
        with _quiet():
            from mediapipe.python.solutions import hands

        self._hands = hands.Hands
        self._options: dict[str, Any] = {}
        self._model: Any = None
        self._min_size = 0.0

    def forget(self, params: Params) -> None:
        """Reset the graph, so that no hand of the last clip is looked for in the next."""
        options, self._min_size = _options(params), params["min_size"]
        with _quiet():
            if self._model is None or options != self._options:
                self._model, self._options = self._hands(**options), options
            else:
                self._model.reset()
            self._model.process(BLANK)  # the graph opens its models on other threads; this waits for them

    def look(self, frame: Frame) -> list[Sighting]:
        """The hands of the next frame that are not too small."""
        with _quiet():
            found = self._model.process(frame.rgb)
        if not found.multi_hand_landmarks:
            return []
        height, width = frame.rgb.shape[:2]
        hands = zip(found.multi_hand_landmarks, found.multi_hand_world_landmarks, found.multi_handedness, strict=True)
        seen = [
            Sighting(
                frame.index,
                _right(handedness.classification[0]),
                np.array([(p.x * width, p.y * height) for p in picture.landmark]),
                np.array([(p.x, p.y, p.z) for p in world.landmark]),
            )
            for picture, world, handedness in hands
        ]
        return [one for one in seen if one.size >= self._min_size * max(width, height)]


def _options(params: Params) -> dict[str, Any]:
    for name in ("min_detection", "min_tracking", "min_size"):
        if not 0 <= params[name] <= 1:
            raise ClipFailed(f"hand_poses.{name} is {params[name]}; set it between 0 and 1")
    if params["max_hands"] < 1 or params["model_complexity"] not in (0, 1):
        got = f"max_hands = {params['max_hands']}, model_complexity = {params['model_complexity']}"
        raise ClipFailed(f"hand_poses: {got}; max_hands must be at least 1, model_complexity 0 (lite) or 1 (full)")
    return {
        "max_num_hands": params["max_hands"],
        "model_complexity": params["model_complexity"],
        "min_detection_confidence": params["min_detection"],
        "min_tracking_confidence": params["min_tracking"],
    }


def _right(handedness: Any) -> float:
    """Probability of the person's own right hand; the model takes every picture for a mirrored selfie."""
    return float(handedness.score if handedness.label == "Left" else 1 - handedness.score)


@contextmanager
def _quiet() -> Iterator[None]:
    """Drop what the C++ side writes to standard error; its failures come as exceptions all the same."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
