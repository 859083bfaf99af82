"""A clip: a span of one video, its frames and the folder for the files made from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from egoworld_runner.clip_ids import clip_id
from egoworld_runner.remarks import NOTHING
from egoworld_runner.video import Frame, FrameIndex, frames


def _no_progress(done: int, of: int) -> None:
    pass


@dataclass(frozen=True)
class Clip:
    """Frames [start_frame, end_frame) of the file at ``path``; sizes in px as displayed.

    ``whole`` is True when a stage is given the whole video as one clip. ``folder`` is where files of this clip are
    written; what lies there when ``run`` ends is part of the artifact.
    """

    video: str
    path: Path
    index: FrameIndex
    start_frame: int
    end_frame: int
    folder: Path
    whole: bool = False
    notes: dict[str, float | int | str] = field(default_factory=dict[str, "float | int | str"])
    on_progress: Callable[[int, int], None] = _no_progress

    @property
    def clip_id(self) -> str:
        return clip_id(self.video, self.start_frame, self.end_frame)

    @property
    def width(self) -> int:
        return self.index.width

    @property
    def height(self) -> int:
        return self.index.height

    @property
    def fps(self) -> float:
        """Mean frame rate of the video, frames per second."""
        return self.index.fps

    @property
    def times(self) -> NDArray[np.float64]:
        """Presentation time of every frame of the clip, s from the first frame of the video, shape [n]."""
        return self.index.time_s[self.start_frame : self.end_frame]

    def __len__(self) -> int:
        return self.end_frame - self.start_frame

    def frames(self, step: int = 1) -> Iterator[Frame]:
        """Every ``step``-th frame from the first, decoded one at a time; may be called again for another pass."""
        return frames(self.path, self.index, self.start_frame, self.end_frame, step)

    def progress(self, frame: int) -> None:
        """Report that ``frame`` (decode index) is done."""
        self.on_progress(frame - self.start_frame + 1, len(self))

    def note(self, name: str, value: float | str) -> None:
        """Record a fact about this clip for the manifest, such as the number of registered frames."""
        self.notes[name] = value

    def nothing(self, why: str) -> None:
        """Say why there honestly are no rows of this clip, such as "no object was handled".

        A stage that must yield rows takes no rows without this word for a failure.
        """
        self.note(NOTHING, why)
