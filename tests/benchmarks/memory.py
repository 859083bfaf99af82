"""(f) Peak memory of every stage for a 10 s and a 10 min video, both one single shot: nothing may grow with length."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av

from tests.benchmarks.measure import Measure
from tests.benchmarks.place import Place, ours

SHORT_S = 10.0
FPS = 5
SIZE = (320, 180)
FLAT = 1.25
MB = 1e6


def run(place: Place) -> Iterator[Measure]:
    """One process per video makes every stage and watches; the long one takes minutes."""
    long_s = 30.0 if place.quick else 60 * place.minutes
    shorter = ours("tests.benchmarks.peaks", place.home("short"), one_shot(place, SHORT_S))[1]
    longer = ours("tests.benchmarks.peaks", place.home("long"), one_shot(place, long_s))[1]
    what = f"peak memory for {long_s / 60:g} min, "
    for stage, peak in longer.items():
        against = f"for {SHORT_S:g} s"
        yield Measure(
            "f", what + stage, peak["runner"] / MB, shorter[stage]["runner"] / MB, "MB", against, at_most=FLAT
        )
    mine, theirs = (max(peak["own"] for peak in peaks.values()) for peaks in (longer, shorter))
    yield Measure("f", f"{what}our own process", mine / MB, theirs / MB, "MB", against, at_most=FLAT)


def one_shot(place: Place, seconds: float) -> Path:
    """A shot of the sample played forwards and backwards again and again: no cut in it, and something always moves."""
    width, height = SIZE
    path = place.kept / f"one-shot-{seconds:g}s-{width}x{height}-{FPS}.mp4"
    if path.is_file():
        return path
    with av.open(str(place.sample(3, 10.0, width, height, 10))) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    forwards = pictures[: len(pictures) // 2]
    there_and_back = [*forwards, *forwards[-2:0:-1]]
    half = path.with_suffix(".mp4.part")
    with av.open(str(half), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(FPS))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": "17", "preset": "fast"}
        for number in range(round(seconds * FPS)):
            picture = there_and_back[number % len(there_and_back)]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return half.rename(path)
