"""Reading what a process writes to the end, however much it is, and keeping the beginning."""

from __future__ import annotations

import codecs
import os
import selectors
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

BLOCK = 1 << 19
LOOK_S = 0.02
"""Seconds between two looks at whether a run should end."""


class Cancel(Protocol):
    """What ends a run early once it is set: a ``threading.Event``, or anything that answers as one does."""

    def is_set(self) -> bool: ...


@dataclass
class Stream:
    """What came through one pipe: at most ``limit`` bytes of it are kept."""

    limit: int
    kept: bytearray = field(default_factory=bytearray)
    truncated: bool = False

    def take(self, block: bytes) -> None:
        """Keep what there is room for."""
        room = self.limit - len(self.kept)
        self.kept += block[:room]
        self.truncated |= len(block) > room

    @property
    def text(self) -> str:
        """What was kept, with U+FFFD for what is no UTF-8; a character that the limit cut in two is left out."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        return decoder.decode(bytes(self.kept), final=not self.truncated)


def drain(pipes: Mapping[int, Stream], until: float, reason: Callable[[], str] = lambda: "") -> str:
    """Read all pipes until nobody can write to them any more, and return "".

    reason: why it should end before, looked at many times a second; "timeout" when ``until`` (monotonic) has passed.
    """
    with selectors.DefaultSelector() as selector:
        for descriptor in pipes:
            selector.register(descriptor, selectors.EVENT_READ)
        while selector.get_map():
            left = until - time.monotonic()
            if why := "timeout" if left <= 0 else reason():
                return why
            for key, _ in selector.select(min(left, LOOK_S)):
                if block := os.read(key.fd, BLOCK):
                    pipes[key.fd].take(block)
                else:
                    selector.unregister(key.fd)
    return ""
