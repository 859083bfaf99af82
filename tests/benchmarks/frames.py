"""(b) Frames decoded through the contract against bare PyAV: the same pictures as RGB arrays."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from egoworld_resources.settings import PROJECT
from egoworld_runner.video import FrameIndex, frames
from tests.benchmarks.measure import Measure
from tests.benchmarks.place import Place, middle

TURNS = 15
REAL = PROJECT.parent / "shared" / "data"


def run(place: Place) -> Iterator[Measure]:
    """A generated video, and the largest real one where there is any."""
    size = (320, 180, 10) if place.quick else (640, 360, 15)
    yield measure(place, "sample", place.sample(1, 2.0 if place.quick else 12.0, *size))
    real = largest(REAL)
    if real:
        yield measure(place, "a real video", real)
    else:
        yield Measure("b", "frames of a real video", absent="there is none beside the checkout", at_least=0.95)


def largest(folder: Path) -> Path | None:
    """The largest video below a folder."""
    found = [path for path in folder.rglob("*.mp4") if path.is_file()]
    return max(found, key=lambda path: path.stat().st_size, default=None)


def measure(place: Place, name: str, path: Path) -> Measure:
    """Frames per second of both sides, in turn."""
    index = FrameIndex.scan(path)
    index.write(place.root / "frames.parquet")
    mine: list[float] = []
    theirs: list[float] = []
    for turn in range(2 if place.quick else TURNS):
        sides = [(mine, contract(path, place.root / "frames.parquet")), (theirs, bare(path))]
        for rates, pictures in sides if turn % 2 else reversed(sides):
            rates.append(rate(pictures, len(index)))
    what = f"frames of {name} ({index.width}x{index.height}, {len(index)} frames)"
    return Measure("b", what, middle(mine), middle(theirs), "frames/s", "by bare PyAV", at_least=0.95)


def rate(pictures: Iterator[NDArray[np.uint8]], expected: int) -> float:
    """Frames per second of somebody who looks at one picture while the next is decoded, as every model does."""
    count = 0
    began = time.perf_counter()
    for picture in pictures:
        count += picture.dtype == np.uint8
    seconds = time.perf_counter() - began
    if count != expected:
        raise RuntimeError(f"{count} frames were decoded of {expected}")
    return count / seconds


def contract(path: Path, index: Path) -> Iterator[NDArray[np.uint8]]:
    """As a runner gets them, the reading of the index included."""
    known = FrameIndex.read(index)
    for frame in frames(path, known, 0, len(known)):
        yield frame.rgb


def bare(path: Path) -> Iterator[NDArray[np.uint8]]:
    """As PyAV's documentation decodes fast: threads on, one array a frame."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for frame in container.decode(stream):
            yield frame.to_ndarray(format="rgb24")
