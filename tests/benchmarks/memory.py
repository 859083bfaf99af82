"""(f) Peak memory of every stage for a 10 s and a 10 min video, both one single shot: nothing may grow with length."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import av

from tests.benchmarks.measure import Measure
from tests.benchmarks.place import Place, ours

SHORT_S = 10.0
LONGEST_CLIP_S = 60.0
"""Parameter ``max_clip_s`` of the stage clips."""
FPS = 5
SIZE = (320, 180)
FLAT = 1.25
MB = 1e6


def run(place: Place) -> Iterator[Measure]:
    """One process per video makes every stage and watches, all of them at once; the long one takes minutes.

    What is not flat against 10 s is also compared with one clip of the greatest length, after which a stage that works
    clip by clip ends growing.
    """
    long_s = 30.0 if place.quick else 60 * place.minutes
    lengths = [seconds for seconds in (SHORT_S, LONGEST_CLIP_S) if seconds < long_s]
    paths = {seconds: one_shot(place, seconds) for seconds in (*lengths, long_s)}
    with ThreadPoolExecutor() as pool:
        found = dict(zip(paths, pool.map(lambda path: peaks(place, path), paths.values()), strict=True))
    for name, longest in found[long_s].items():
        grown = longest > FLAT * found[SHORT_S][name]
        for short_s in lengths if grown else lengths[:1]:
            what, against = f"peak memory for {long_s / 60:g} min, {name}", f"for {short_s:g} s"
            yield Measure("f", what, longest / MB, found[short_s][name] / MB, "MB", against, at_most=FLAT)


def peaks(place: Place, path: Path) -> dict[str, int]:
    """Bytes: the peak of every stage's runner on a video, and that of our own process in all of them."""
    found = ours("tests.benchmarks.peaks", place.home(path.stem), path)[1]
    own = max(peak["own"] for peak in found.values())
    return {**{stage: peak["runner"] for stage, peak in found.items()}, "our own process": own}


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
