"""Cuts: PySceneDetect's own expectations, real shots that we joined, and real videos without a cut."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from egoworld_resources.environments.building.builder import EnvBuilder
from egoworld_resources.environments.catalog import Catalog
from egoworld_resources.sample import SampleOptions
from egoworld_runner import FrameIndex
from tests.accuracy.figures import Figure
from tests.accuracy.sample_flow import rendered
from tests.made_clips import ModelEnvRuns
from tests.made_videos import make_video

SHOTS = {
    "blocks": "sam2/demo/data/gallery/03_blocks.mp4",
    "webcam": "dex-retargeting/example/vector_retargeting/data/human_hand_video.mp4",
    "bedroom": "sam2/notebooks/videos/bedroom.mp4",
    "open": "mediapipe-samples/examples/hand_landmarker/android/app/src/androidTest/assets/test_video.mp4",
    "coffee": "sam2/demo/data/gallery/04_coffee.mp4",
}
"""Real videos of one shot each."""
LENGTHS = (31, 12, 24, 9, 40, 18, 27, 10, 22, 35)
SIZE = (320, 180)
ADAPTIVE, TRANSNET = "AdaptiveDetector", "TransNetV2"
FAST = SampleOptions(seconds=4.0, width=160, height=90, fps=10)
"""A sample in which camera and hand move four times as far from frame to frame as in the usual one."""
FAST_SEEDS = range(12)
FAST_DATA = "12 samples with fast motion"
RESOURCES = "PySceneDetect/tests/resources"
GOLDENS = ("counter.mp4", "fades.mp4")
THEIR_SHORTEST = 15
"""PySceneDetect's default length of the shortest shot, with which its expectations were made."""
SAME_BYTES = {"x264-params": "mbtree=0"}
"""x264's macroblock tree comes out differently from one encoding to the next of the same pictures."""
JOINED = "real shots, joined"
ALONE = "real videos of one shot"
THEIRS = "PySceneDetect's test videos"


def joined(data: Path, path: Path) -> tuple[Path, list[int]]:
    """A video of ten shots of five real ones, and where its cuts are."""
    parts: list[list[NDArray[np.uint8]]] = []
    files = [*SHOTS.values(), *SHOTS.values()]
    for file, length, before in zip(files, LENGTHS, [0] * len(SHOTS) + list(LENGTHS), strict=False):
        parts.append(list(frames(data / file, before, length)))
    pictures = [picture for part in parts for picture in part]
    return make_video(path, pictures, options=SAME_BYTES), list(accumulate(map(len, parts)))[:-1]


def frames(path: Path, start: int, count: int) -> Iterator[NDArray[np.uint8]]:
    """Some frames of a video, at SIZE."""
    with av.open(str(path)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number >= start + count:
                return
            if number >= start:
                yield frame.to_ndarray(format="rgb24", width=SIZE[0], height=SIZE[1])


def cuts_in(runs: ModelEnvRuns, folder: Path, videos: dict[str, Path], **params: object) -> dict[str, set[int]]:
    """Where a model finds cuts, by video."""
    spans = {name: (0, len(FrameIndex.scan(path))) for name, path in videos.items()}
    ran = runs.run(folder, {name: (path, [spans[name]]) for name, path in videos.items()}, **params)
    return {name: {row["end_frame"] for row in ran.rows(name, span)} - {span[1]} for name, span in spans.items()}


def measure(data: Path, builder: EnvBuilder, catalog: Catalog, folder: Path, *, whole: bool = True) -> list[Figure]:
    """AdaptiveDetector on the joined shots and PySceneDetect's own videos; whole: all data, and TransNetV2 too."""
    folder.mkdir(parents=True, exist_ok=True)
    base, other = (ModelEnvRuns(builder, catalog, env, "clips") for env in ("base", "transnet"))
    video, true = joined(data, folder / "joined.mp4")
    cases = {"joined": video}
    figures = [
        pooled(JOINED, ADAPTIVE, cuts_in(base, folder / "joined", cases), set(true)),
        unlike_theirs(data, base, folder / "theirs"),
    ]
    if whole:
        figures.append(pooled(JOINED, TRANSNET, cuts_in(other, folder / "other", cases), set(true)))
        samples = {str(seed): rendered(folder / "fast", replace(FAST, seed=seed)) for seed in FAST_SEEDS}
        for model, runs in ((ADAPTIVE, base), (TRANSNET, other)):
            found = cuts_in(runs, folder / f"fast-{model}", samples)
            figures.append(pooled(FAST_DATA, model, found, {FAST.shot_starts[1]}))
        false = cuts_in(base, folder / "alone", {name: data / file for name, file in SHOTS.items()})
        figures.append(Figure("clips", ALONE, "false cuts", (float(sum(map(len, false.values()))),), "cuts"))
    return figures


def pooled(data: str, model: str, found: dict[str, set[int]], true: set[int]) -> Figure:
    """F1 in percent of the cuts at the exact frame in videos that all have the same true ones."""
    hits, told, there = sum(len(cuts & true) for cuts in found.values()), sum(map(len, found.values())), len(found)
    detail = f"{hits} of {len(true) * there} cuts, {told - hits} false"
    score = 200 * hits / (told + len(true) * there)
    return Figure("clips", data, f"F1 of cuts at the exact frame, {model}", (score,), "%", detail)


def unlike_theirs(data: Path, runs: ModelEnvRuns, folder: Path) -> Figure:
    """How many cuts of PySceneDetect's test videos differ from those that its own tests expect."""
    videos = {name: data / RESOURCES / name for name in GOLDENS}
    found = cuts_in(runs, folder, videos, min_shot_frames=THEIR_SHORTEST)
    golden = {n: data / RESOURCES / "goldens" / f"{n}.AdaptiveDetector.default.json" for n in GOLDENS}
    differing = sum(len(found[n] ^ set(json.loads(file.read_text())["cuts"])) for n, file in golden.items())
    return Figure("clips", THEIRS, "cuts that differ from PySceneDetect's own", (float(differing),), "cuts")
