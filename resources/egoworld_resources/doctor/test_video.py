"""A tiny video in memory, encoded, decoded and compared. A program too: it needs nothing else of egoworld."""

from __future__ import annotations

import io

import av
import numpy as np

FRAMES = 5
SIZE = (64, 48)
TOLERANCE = 8.0
"""Grey levels (of 255) that a flat picture may lose to compression; measured: 1."""


def round_trip(codec: str = "libx264") -> str:
    """Encode flat frames of rising brightness into MP4, decode them and say with what; raises when they differ."""
    levels = [40 + 40 * number for number in range(FRAMES)]
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream(codec, rate=10)
        if not isinstance(stream, av.VideoStream):
            raise TypeError(f"{codec} encodes no video")
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for level in levels:
            picture = np.full((SIZE[1], SIZE[0], 3), level, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    file.seek(0)
    with av.open(file, "r") as opened:
        seen = [float(frame.to_ndarray(format="rgb24").mean()) for frame in opened.decode(video=0)]
    if len(seen) != FRAMES or any(abs(a - b) > TOLERANCE for a, b in zip(seen, levels, strict=True)):
        raise ValueError(f"frames of brightness {levels} came back as {[round(level, 1) for level in seen]}")
    version = ".".join(str(part) for part in av.library_versions["libavcodec"])
    return f"av {av.__version__} (libavcodec {version}) encodes and decodes H.264"


if __name__ == "__main__":
    print(round_trip())
