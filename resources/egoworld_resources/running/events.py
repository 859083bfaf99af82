"""Events that a runner reports while it works, one JSON object a line, read as untrusted input.

A line that is not an event of the contract, or names a clip that is not in the job, is ignored.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any, cast

from egoworld_runner.clip_ids import clip_id
from egoworld_runner.job import WHOLE, Job

Event = Mapping[str, Any]
Unit = tuple[str, str]
"""A clip of a video: the video's key, and the clip's id or WHOLE."""

LINE_BYTES = 4 << 20
"""A longer line is not an event: the longest one carries the notes of a clip."""
FIELDS: Mapping[str, Mapping[str, type]] = {
    "loaded": {"seconds": float},
    "start": {"video": str, "unit": str},
    "reading": {"video": str, "unit": str, "frames": float},
    "progress": {"video": str, "unit": str, "done": float, "of": float},
    "clip": {"video": str, "unit": str, "state": str},
    "finished": {},
    "error": {"reason": str},
}
REASON = 4000
WHOLE_NUMBERS = 1 << 53
"""Larger ones, and infinity, are not the same in every JSON reader."""


class Lines:
    """Blocks of bytes as lines; one that is too long is dropped as it comes, so that memory stays bounded."""

    def __init__(self) -> None:
        self._pending = b""
        self._dropping = False

    def take(self, block: bytes) -> Iterator[bytes]:
        """The lines that a block ends."""
        *lines, rest = block.split(b"\n")
        for line in lines:
            whole = self._pending + line
            if not self._dropping and len(whole) <= LINE_BYTES:
                yield whole
            self._pending, self._dropping = b"", False
        self._pending += rest
        if len(self._pending) > LINE_BYTES:
            self._pending, self._dropping = b"", True


def units_of(job: Job) -> Iterator[Unit]:
    """All clips of a job."""
    for video in job.videos:
        if video.clips is None:
            yield video.video, WHOLE
        for span in video.clips or ():
            yield video.video, clip_id(video.video, span.start_frame, span.end_frame)


def event_of(line: bytes, units: Collection[Unit]) -> Event | None:
    """The event in a line; None if there is none, or if its clip is not in ``units``."""
    try:
        raw = json.loads(line, parse_constant=_refused)
    except (ValueError, RecursionError):
        return None
    if not isinstance(raw, dict):
        return None
    event = cast("dict[str, Any]", raw)
    name = event.get("event")
    fields = FIELDS.get(name) if isinstance(name, str) else None
    if fields is None or not all(_is(event.get(field), kind) for field, kind in fields.items()):
        return None
    if "unit" in fields and (event["video"], event["unit"]) not in units:
        return None
    if name == "error":
        return {"event": name, "reason": event["reason"][:REASON], "disk_full": event.get("disk_full") is True}
    return event


def _is(value: object, kind: type) -> bool:
    if kind is str:
        return isinstance(value, str)
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < WHOLE_NUMBERS


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
