"""Reading what a process writes to the end, however much it is, and keeping the beginning."""

from __future__ import annotations

import codecs
import os
import selectors
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

BLOCK = 1 << 19


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


def drain(pipes: Mapping[int, Stream], until: float) -> bool:
    """Read all pipes until nobody can write to them any more; False when that is not so at ``until`` (monotonic)."""
    with selectors.DefaultSelector() as selector:
        for descriptor in pipes:
            selector.register(descriptor, selectors.EVENT_READ)
        while selector.get_map():
            left = until - time.monotonic()
            if left <= 0:
                return False
            for key, _ in selector.select(left):
                if block := os.read(key.fd, BLOCK):
                    pipes[key.fd].take(block)
                else:
                    selector.unregister(key.fd)
    return True
