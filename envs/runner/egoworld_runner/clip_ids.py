"""The ids of clips."""

from __future__ import annotations

import uuid

CLIP_NAMESPACE = uuid.UUID("6f1b8b0e-6c0a-5d3f-9a51-2f6f1e6d7a10")


def clip_id(video: str, start_frame: int, end_frame: int) -> str:
    """The id of frames [start_frame, end_frame) of a video: uuid5, so the same span always has the same id."""
    return str(uuid.uuid5(CLIP_NAMESPACE, f"{video}\n{start_frame}\n{end_frame}"))
