"""What a running job says: one JSON object a line on the real standard output.

Models and their libraries print as they like; their output is sent to standard error, so a line of events is never
broken by them.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from typing import Any


class Events:
    """The event stream of this process. Progress is thinned to five lines a second."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._last = time.monotonic()

    @classmethod
    def take_stdout(cls) -> Events:
        """Keep the real standard output for events and point file descriptor 1 at standard error."""
        sys.stdout.flush()
        events = cls(os.dup(1))
        os.dup2(2, 1)
        return events

    def emit(self, event: str, **fields: Any) -> None:
        """Write one event whole."""
        line = json.dumps({"event": event, **fields}, default=str) + "\n"
        with self._lock:
            os.write(self._descriptor, line.encode("ascii"))

    def reading(self, video: str, unit: str, frames: int) -> None:
        """Report frames read of a file that is being indexed, once a second: a long one is not hung."""
        now = time.monotonic()
        if now - self._last >= 1.0:
            self._last = now
            self.emit("reading", video=video, unit=unit, frames=frames)

    def progress(self, video: str, unit: str, done: int, of: int) -> None:
        """Report frames done of a clip."""
        now = time.monotonic()
        if done >= of or now - self._last >= 0.2:
            self._last = now
            self.emit("progress", video=video, unit=unit, done=done, of=of)
