"""Hands in real pictures whose joints and sides a person has read off, and MediaPipe's other interface on the same."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from egoworld_resources.environments.building.builder import EnvBuilder
from egoworld_resources.environments.catalog import Catalog
from tests.accuracy.figures import Figure
from tests.made_clips import ModelEnvRuns, Ran

Array = NDArray[np.float64]
DATA = "real pictures, joints read off by eye"
WRIST, MIDDLE_KNUCKLE = 0, 9
KNUCKLES = (5, 9, 13, 17)

VIDEOS = {
    "blocks": ("sam2/demo/data/gallery/03_blocks.mp4", [(60, 64), (64, 67), (140, 144), (162, 167)]),
    "coffee": ("sam2/demo/data/gallery/04_coffee.mp4", [(0, 5)]),
    "webcam": ("dex-retargeting/example/vector_retargeting/data/human_hand_video.mp4", [(0, 3)]),
    "open": (
        "mediapipe-samples/examples/hand_landmarker/android/app/src/androidTest/assets/test_video.mp4",
        [(148, 151)],
    ),
}

# fmt: off
# Read off the enlarged pictures by eye, before any model saw them: joint -> (x, y) px, good to +-8 px at 1280x720 and
# +-5 px at 640x360 for fingertips, twice that for joints under the skin.
BY_EYE: dict[str, tuple[tuple[int, int], int, dict[int, tuple[int, int]]]] = {
    "webcam": ((0, 3), 0, {
        4: (902, 213), 8: (755, 147), 12: (686, 156), 16: (643, 189), 20: (597, 260), 0: (793, 408), 3: (870, 250),
        5: (778, 269), 6: (766, 203), 9: (736, 272), 13: (707, 289), 17: (680, 313),
    }),
    "open": ((148, 151), 150, {
        4: (207, 190), 8: (231, 294), 12: (296, 292), 16: (318, 275), 20: (330, 247), 0: (230, 69), 3: (214, 159),
        6: (211, 229), 10: (255, 232), 18: (302, 212),
    }),
    "blocks": ((162, 167), 165, {
        4: (400, 387), 8: (402, 567), 12: (345, 630), 16: (295, 600), 20: (237, 555), 3: (333, 342), 5: (245, 372),
        6: (325, 467), 10: (252, 512),
    }),
}
# fmt: on

# Whose hand it is, seen by eye: thumb, palm or back, and a ring; (video, span, side) -> (x, y) of the knuckles, about.
SIDES = {
    ("webcam", (0, 3), "right"): (730, 290),
    ("open", (148, 151), "right"): (250, 180),
    ("blocks", (162, 167), "right"): (220, 380),
    ("blocks", (140, 144), "right"): (150, 180),
    ("blocks", (140, 144), "left"): (1000, 60),
    ("coffee", (0, 5), "right"): (350, 440),
    ("coffee", (0, 5), "left"): (1020, 490),
}

TASKS = """
import io, json, sys, zipfile
from pathlib import Path
import av
import mediapipe as mp
from mediapipe.tasks.python import BaseOptions, vision
models = Path(mp.__file__).parent / "modules"
bundle = io.BytesIO()
with zipfile.ZipFile(bundle, "w") as file:
    file.write(models / "palm_detection/palm_detection_full.tflite", "hand_detector.tflite")
    file.write(models / "hand_landmark/hand_landmark_full.tflite", "hand_landmarks_detector.tflite")
options = vision.HandLandmarkerOptions(base_options=BaseOptions(model_asset_buffer=bundle.getvalue()), num_hands=2)
answers = []
with vision.HandLandmarker.create_from_options(options) as model:
    for video, wanted in json.loads(sys.argv[1]):
        rgb = next(f for i, f in enumerate(av.open(video).decode(video=0)) if i == wanted).to_ndarray(format="rgb24")
        found = model.detect(mp.Image(image_format=mp.ImageFormat.SRGB, data=rgb))
        size = rgb.shape[1], rgb.shape[0]
        joints = [[[p.x * size[0], p.y * size[1]] for p in hand] for hand in found.hand_landmarks]
        answers.append(dict(zip([hand[0].category_name.lower() for hand in found.handedness], joints)))
print(json.dumps(answers))
"""


def run(builder: EnvBuilder, catalog: Catalog, data: Path, folder: Path) -> Ran:
    """All clips in one process."""
    videos = {name: (data / file, spans) for name, (file, spans) in VIDEOS.items()}
    return ModelEnvRuns(builder, catalog, "mediapipe", "hand_poses").run(folder, videos)


def by_the_tasks_interface(python: Path, pictures: Sequence[tuple[Path, int]], folder: Path) -> list[dict[str, Array]]:
    """The joints [21 x 2] px by side that MediaPipe's tasks interface finds in single frames of videos.

    Another graph around the same models, with no memory of the frame before and the other naming of sides.
    """
    given = json.dumps([(str(path), frame) for path, frame in pictures])
    command = [str(python), "-I", "-c", TASKS, given]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder)
    return [{side: np.array(at) for side, at in found.items()} for found in json.loads(done.stdout)]


def joints(row: dict[str, Any]) -> Array:
    """The joints of a row [21 x 2], px."""
    return np.asarray(row["keypoints_2d"], dtype=np.float64).reshape(21, 2)


def figures(ran: Ran) -> list[Figure]:
    """The error of the joints in each picture, and how many of the labelled hands have the right side."""
    errors: list[float] = []
    for video, (span, frame, _) in BY_EYE.items():
        mine = [row for row in ran.rows(video, span) if (row["frame"], row["side"]) == (frame, "right")]
        errors.append(picture_error(video, joints(mine[0]), joints(mine[0])) if mine else np.nan)
    right = [
        any(_is_at(joints(row), place) for row in ran.rows(video, span) if (row["frame"], row["side"]) == (frame, side))
        for (video, span, side), place in SIDES.items()
        for frame in range(*span)
    ]
    told = f"{sum(right)} of {len(right)} hands"
    return [
        Figure("hand_poses", DATA, "keypoint error, mean, of the palm's length", tuple(errors), "%"),
        Figure("hand_poses", DATA, "the hand found, with its side", (100 * float(np.mean(right)),), "%", told),
    ]


def picture_error(video: str, found: Array, measure: Array) -> float:
    """Mean distance of joints [21 x 2] from where a person sees them, in percent of the palm of ``measure``."""
    palm = np.linalg.norm(measure[MIDDLE_KNUCKLE] - measure[WRIST])
    gaps = [np.linalg.norm(found[joint] - np.array(at)) for joint, at in BY_EYE[video][2].items()]
    return 100 * float(np.mean(gaps) / palm)


def _is_at(found: Array, place: tuple[int, int]) -> bool:
    """Whether a hand's knuckles lie within a hand's length of where they were seen."""
    return bool(np.linalg.norm(found[list(KNUCKLES)].mean(axis=0) - place) < np.ptp(found, axis=0).max())


def measure(data: Path, builder: EnvBuilder, catalog: Catalog, folder: Path) -> list[Figure]:
    """The figures, with those of MediaPipe's tasks interface on the same pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    ran = run(builder, catalog, data, folder / "run")
    pictures = [(data / VIDEOS[video][0], frame) for video, (_, frame, _) in BY_EYE.items()]
    theirs = by_the_tasks_interface(builder.ensure("mediapipe").python, pictures, folder)
    errors = [picture_error(v, found["right"], found["right"]) for v, found in zip(BY_EYE, theirs, strict=True)]
    what = "keypoint error, mean, of the palm's length, MediaPipe's tasks interface"
    return [*figures(ran), Figure("hand_poses", DATA, what, tuple(errors), "%")]
