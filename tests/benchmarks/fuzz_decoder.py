"""Mutated videos through the stages videos and clips in real runner processes: what becomes of each; nothing is lost.

    python -m tests.benchmarks.fuzz_decoder --files 2000 --seed 0 --seconds 600

"unlike its index": the frames that clips decoded were not those that videos had indexed. Fails (exit status 1) when the
step raises, when a file has no outcome, or when an artifact is not whole.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.video.stream import VideoStream
from rich.console import Console
from rich.table import Table

from egoworld_assets.orchestration.registry import stages
from egoworld_resources.inbox.arrivals import Arrivals
from egoworld_resources.making.workbench import Outcome, Workbench
from egoworld_resources.settings import Settings
from egoworld_runner.video import FrameIndex

KINDS = {
    "libx264": ("mp4", "mkv", "avi", "mov", "ts", "flv", "h264"),
    "libx265": ("mp4", "mkv", "ts"),
    "mpeg4": ("mp4", "mkv", "avi"),
    "mpeg2video": ("ts", "mkv", "mpg"),
    "libvpx": ("webm",),
    "libvpx-vp9": ("webm", "mp4", "mkv"),
    "libsvtav1": ("mp4", "mkv"),
    "mjpeg": ("avi", "mkv", "mov"),
    "ffv1": ("mkv", "avi"),
    "gif": ("gif",),
    "prores_ks": ("mov",),
}
PIX_FMT = {"mjpeg": "yuvj420p", "gif": "rgb8", "prores_ks": "yuv422p10le"}
OPTIONS = {
    "libx264": {"g": "6", "bf": "2"},
    "libx265": {"x265-params": "log-level=none:keyint=6:pools=1:frame-threads=1"},
    "libvpx-vp9": {"cpu-used": "8", "deadline": "realtime"},
    "libvpx": {"cpu-used": "8", "deadline": "realtime"},
    "libsvtav1": {"preset": "12", "svtav1-params": "lp=1"},
}
HEADS = 400
"""Bytes at either end of a file where its header and index mostly lie."""
SPICE = (0, 1, 0x7F, 0x80, 0xFF)

Mutation = Callable[[random.Random, bytearray, Sequence[bytes]], None]


def good_video(path: Path, codec: str, frames: int) -> bytes:
    """Encode a short noisy video of 64x48 px and give its bytes."""
    rng = np.random.default_rng(frames)
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        stream = cast(VideoStream, container.add_stream(codec, rate=Fraction(10)))
        stream.width, stream.height = 64, 48
        stream.pix_fmt = PIX_FMT.get(codec, "yuv420p")
        stream.options = {"threads": "1", **OPTIONS.get(codec, {})}
        for number in range(frames):
            picture = rng.integers(0, 80, (48, 64, 3), dtype=np.uint8) + np.uint8(8 * number)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path.read_bytes()


def flip_bits(chance: random.Random, data: bytearray, _others: Sequence[bytes]) -> None:
    """Single bits anywhere."""
    for _ in range(chance.choice((1, 4, 16, 64, 256))):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def cut(chance: random.Random, data: bytearray, _others: Sequence[bytes]) -> None:
    """The end is missing, or a piece of the middle."""
    at = chance.randrange(1, len(data))
    del data[at : None if chance.random() < 0.5 else at + chance.randrange(1, 2000)]


def splice(chance: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    """A piece of another video, of any codec, over or into this one."""
    other = chance.choice(others)
    start = chance.randrange(len(other))
    piece = other[start : start + chance.randrange(1, 3000)]
    at = chance.randrange(len(data))
    data[at : at + (len(piece) if chance.random() < 0.5 else 0)] = piece


def edit_header(chance: random.Random, data: bytearray, _others: Sequence[bytes]) -> None:
    """Extreme numbers of 1 to 8 bytes near the start or the end, where sizes, counts, rates and times are."""
    for _ in range(chance.choice((1, 2, 4, 8))):
        near = chance.randrange(min(HEADS, len(data)))
        at = near if chance.random() < 0.5 else len(data) - 1 - near
        width = chance.choice((1, 2, 4, 8))
        value = bytes([chance.choice(SPICE)]) * width if chance.random() < 0.7 else chance.randbytes(width)
        data[at : at + width] = value[: len(data) - at]


def edit_box(chance: random.Random, data: bytearray, _others: Sequence[bytes]) -> None:
    """Extreme numbers inside a named box or chunk (mdhd, stts, stsz, avcC, strh ...), wherever it lies."""
    names = list(re.finditer(rb"mdhd|stts|ctts|stsz|stsc|stco|elst|tkhd|mvhd|avcC|hvcC|av1C|avc1|strh|avih|idx1", data))
    if not names:
        edit_header(chance, data, _others)
        return
    box = chance.choice(names)
    for _ in range(chance.choice((1, 2, 3))):
        at = min(len(data) - 1, box.end() + chance.randrange(0, 48))
        width = chance.choice((1, 4, 4, 8))
        data[at : at + width] = (bytes([chance.choice(SPICE)]) * width)[: len(data) - at]


MUTATIONS: tuple[Mutation, ...] = (flip_bits, cut, splice, edit_header, edit_box)


def good_videos(folder: Path) -> dict[str, bytes]:
    """One short video of every codec and container that this build of PyAV writes."""
    made: dict[str, bytes] = {}
    for codec, suffixes in KINDS.items():
        if codec in av.codecs_available:
            for number, suffix in enumerate(suffixes):
                made[f"{codec}.{suffix}"] = good_video(folder / f"{codec}.{suffix}", codec, 10 + number)
    return made


def mutants(folder: Path, files: int, seed: int) -> Iterator[tuple[str, str, Path]]:
    """Mutated files with their kind and mutation; the same for the same seed."""
    chance = random.Random(seed)
    originals = good_videos(folder)
    for number in range(files):
        kind, data = chance.choice(list(originals.items()))
        mutation = chance.choice(MUTATIONS)
        mutated = bytearray(data)
        mutation(chance, mutated, list(originals.values()))
        path = folder / f"{number:06d}-{mutation.__name__}-{kind}"
        path.write_bytes(bytes(mutated) or b"\0")
        yield kind, mutation.__name__, path


def verdict(bench: Workbench, outcome: Outcome) -> tuple[str, str]:
    """What became of a file: indexed, refused, killed, hung or LOST; and why, where it is not indexed."""
    if outcome.manifest is not None:
        index = FrameIndex.read(bench.store.folder(outcome.manifest) / "frames.parquet")
        faults = bench.store.verify(outcome.manifest)
        sane = len(index) == outcome.manifest.clips[0].notes["frames"] and bool(np.all(np.diff(index.time_s) >= 0))
        return ("indexed", "") if sane and not faults else ("LOST", f"not whole: {faults}")
    if outcome.state != "failed" or not outcome.why:
        return "LOST", f"no reason: {outcome}"
    if "printed nothing for" in outcome.why:
        return "hung", outcome.why
    if "was killed by" in outcome.why or "ended with status" in outcome.why:
        return "killed", outcome.why
    return "refused", outcome.why


def fuzz(bench: Workbench, folder: Path, options: argparse.Namespace) -> tuple[dict[str, Counter[str]], list[str], int]:
    """Run all batches that the time allows; counts by kind of file, what is worth reading, and files run."""
    began = time.monotonic()
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    notable: list[str] = []
    waiting = list(mutants(folder, options.files, options.seed))
    done = 0
    while waiting and time.monotonic() - began < options.seconds:
        batch, waiting = waiting[: options.batch], waiting[options.batch :]
        kinds: dict[str, tuple[str, Path]] = {}
        for kind, _, path in batch:
            arrival = Arrivals(bench.store).take(path)
            kinds.setdefault(arrival.duplicate_of or arrival.video, (kind, path))
            done += 1
        indexed = bench.make(stages()["videos"], list(kinds), f"fuzz{done}")
        clipped = bench.make(stages()["clips"], list(kinds), f"fuzz{done}")
        for outcome, after in zip(indexed, clipped, strict=True):
            kind, path = kinds[outcome.video]
            state, why = verdict(bench, outcome)
            if state == "indexed" and not after.manifest:
                state, why = "unlike its index", after.why
            counts[kind][state] += 1
            named = state != "refused" or path.name in why
            if state in ("killed", "hung", "unlike its index", "LOST") or not named or "reading it failed" in why:
                notable.append(f"{state} {path.name}: {why}")
                if options.keep:
                    shutil.copy(path, options.keep)
        counts["(same bytes as another)"]["duplicate"] += len(batch) - len(kinds)
    return counts, notable, done


def table(counts: dict[str, Counter[str]]) -> Table:
    """One line per kind of file, and the sum."""
    states = ("indexed", "refused", "killed", "hung", "unlike its index", "duplicate", "LOST")
    shown = Table("file", *states)
    for kind in sorted(counts):
        shown.add_row(kind, *(str(counts[kind][state]) for state in states))
    shown.add_section()
    shown.add_row("all", *(str(sum(c[state] for c in counts.values())) for state in states))
    return shown


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=600, help="start no batch after this")
    parser.add_argument("--batch", type=int, default=100, help="files in one step")
    parser.add_argument("--silence", type=float, default=20, help="seconds without an event that count as hung")
    parser.add_argument("--memory-gb", type=float, default=2.0)
    parser.add_argument("--keep", type=Path, help="folder for files that killed or hung their runner")
    options = parser.parse_args()
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
    os.environ["SVT_LOG"] = "0"  # the AV1 encoder talks otherwise
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as root:
        folder = Path(root, "files")
        folder.mkdir()
        settings = Settings.load(home=Path(root, "home"), silence_s=options.silence, memory_gb=options.memory_gb)
        counts, notable, done = fuzz(Workbench(settings), folder, options)
    console = Console(width=120)
    console.print(table(counts))
    for line in notable:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    told = sum(count for states in counts.values() for count in states.values())
    lost = sum(states["LOST"] for states in counts.values()) + done - told
    versions = ", ".join(
        f"{name} {'.'.join(map(str, v))}" for name, v in av.library_versions.items() if "codec" in name
    )
    took = f"{time.monotonic() - began:.0f} s, PyAV {av.__version__}, {versions}"
    print(f"{done} files, seed {options.seed}, {lost} lost, {took}")
    return 1 if lost or done < options.files else 0


if __name__ == "__main__":
    sys.exit(main())
