# pyright: reportUnknownMemberType=false
# (the stubs of PyAV leave packets and keyword arguments open)
"""From options to a video file with its truth beside it."""

import hashlib
import json
import multiprocessing
import os
import shutil
import threading
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import closing
from fractions import Fraction
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from egoworld_resources.errors import BadConfiguration
from egoworld_resources.sample.frames import FrameRenderer, Truth
from egoworld_resources.sample.geometry import Image
from egoworld_resources.sample.options import SampleOptions
from egoworld_resources.sample.truth import TruthTables

LICENCE = "CC0-1.0"
Progress = Callable[[int, int], None]

_renderer: FrameRenderer | None = None


def truth_folder(video: Path) -> Path:
    """Folder of the truth of a sample video: next to it, with the extension `.truth`."""
    return video.with_suffix(".truth")


def render(video: Path, options: SampleOptions | None = None, progress: Progress | None = None) -> Path:
    """Write a sample video (H.264 in MP4) and its ground truth; the folder of the truth is returned.

    `progress(done, total)` is called after each frame. Nothing half-written stays under the final names: both are
    written beside and renamed when whole, the video last. Raises FileNotFoundError where the folder is missing.
    """
    options = options or SampleOptions()
    video = Path(video)
    if video.suffix.lower() != ".mp4":
        raise BadConfiguration(f"{video}: a sample is written as MP4; give it a name that ends in .mp4")
    if not video.parent.is_dir():
        raise FileNotFoundError(f"{video.parent} is not a folder: make it first")
    folder = truth_folder(video)
    half_video, half_folder = video.with_suffix(".mp4.part"), video.with_suffix(".truth.part")
    shutil.rmtree(half_folder, ignore_errors=True)
    half_folder.mkdir()
    try:
        tables = TruthTables(options)
        _encode(half_video, options, tables, progress)
        tables.write(half_folder)
        digest = hashlib.sha256(half_video.read_bytes()).hexdigest()
        (half_folder / "truth.json").write_text(json.dumps(_about(options, digest), indent=2) + "\n")
        video.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        half_folder.rename(folder)
        half_video.rename(video)
    finally:
        half_video.unlink(missing_ok=True)
        shutil.rmtree(half_folder, ignore_errors=True)
    return folder


def is_rendered(video: Path, options: SampleOptions | None = None) -> bool:
    """Whether the video and its truth are there, whole, and were made by this renderer from these options."""
    about = truth_folder(Path(video)) / "truth.json"
    if not (about.is_file() and Path(video).is_file()):
        return False
    try:
        found = json.loads(about.read_text())
    except ValueError:
        return False
    return found == _about(options or SampleOptions(), hashlib.sha256(Path(video).read_bytes()).hexdigest())


def _source_digest() -> str:
    """What made the pixels: the digest of this package's own sources."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()


def _about(options: SampleOptions, digest: str) -> dict[str, Any]:
    return {
        "renderer": _source_digest(),
        "licence": LICENCE,
        "options": options.recipe,
        "seed": options.seed,
        "video_sha256": digest,
        "versions": {"numpy": np.__version__, "opencv": cv2.__version__, "av": av.__version__},
    }


def _encode(path: Path, options: SampleOptions, tables: TruthTables, progress: Progress | None) -> None:
    """One x264 thread, no B-frames, no time stamps of the day in the file: equal frames give equal bytes.

    With B-frames x264 gave up to five different files of the same frames in ten tries, at 480x270 and other sizes.
    """
    with av.open(str(path), "w", format="mp4", options={"fflags": "+bitexact", "movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=Fraction(options.fps))
        stream.width, stream.height, stream.pix_fmt = options.width, options.height, "yuv420p"
        stream.codec_context.thread_count = 1
        stream.options = {"crf": "17", "preset": "fast", "bf": "0", "flags": "+bitexact"}
        with closing(_frames(options)) as frames:
            for done, (image, truth) in enumerate(frames, start=1):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
                tables.add(truth)
                if progress is not None:
                    progress(done, options.frame_count)
        container.mux(stream.encode(None))


def _frames(options: SampleOptions) -> Generator[tuple[Image, Truth]]:
    """The frames in order, rendered ahead by the worker processes."""
    workers = min(options.workers, options.frame_count)
    if workers == 1:
        renderer = FrameRenderer(options)
        yield from (renderer.render(frame) for frame in range(options.frame_count))
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=_start_worker, initargs=(options,))
    try:
        ahead: deque[Future[tuple[Image, Truth]]] = deque()
        for frame in range(options.frame_count):
            ahead.append(pool.submit(_render_one, frame))
            if len(ahead) > 4 * workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker(options: SampleOptions) -> None:
    """Ready this process; it ends with its parent, also when that is killed."""
    global _renderer
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    cv2.setNumThreads(1)
    _renderer = FrameRenderer(options)


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


def _render_one(frame: int) -> tuple[Image, Truth]:
    if _renderer is None:
        raise RuntimeError("a sample worker got a frame before it was started")
    return _renderer.render(frame)
