"""Whether all that a file promises is in it: packets read against packets promised, never pictures shown.

Pictures that an edit list hides, empty slots of an AVI file and leading pictures that nothing can decode are in the
file, so nothing is missing; and sound may begin earlier and last longer than the pictures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet

from egoworld_runner import ClipFailed
from egoworld_runner.video import opened

FEW = 2
"""Packets that may be missing from any file."""
SHORT_S = 1.0
"""As much of a file's time may be missing from any file, s."""


@dataclass(frozen=True)
class Whole:
    """What a file promises and what is in it: packets of the pictures' stream, and seconds of all its streams.

    0 promised where a file promises nothing: a recording that is written as it is filmed may end anywhere.
    """

    promised: int
    packets: int
    promised_s: float
    seconds: float

    @property
    def missing_s(self) -> float:
        """Seconds that are promised and not there."""
        return max(0.0, self.promised_s - self.seconds)

    @classmethod
    def of(cls, path: Path) -> Whole:
        """Read every packet once, decoding none; raises BadVideo for what cannot be opened."""
        with opened(path) as (container, stream):
            listed, slots = len(stream.index_entries), stream.frames
            start, promised_s = _seconds(container.start_time), _seconds(container.duration)
            packets = last_slot = 0
            end = start
            for packet in _packets(container):
                if packet.stream_index == stream.index:
                    packets += 1
                    last_slot = max(last_slot, (packet.pts or 0) + (packet.duration or 1))
                end = max(end, _end(packet))
            if slots and container.format.name == "avi":
                empty_at_end = _riff_is_whole(path) and packets >= listed
                there = slots if empty_at_end else max(packets, last_slot)
                return cls(slots, there, 0.0, 0.0)
            if slots:
                return cls(listed or slots, packets, 0.0, 0.0)
            if "mp4" in container.format.name:  # written in fragments, each of which promises itself alone
                return cls(0, packets, 0.0, 0.0)
            if "matroska" in container.format.name and promised_s > start:  # it counts from 0, others from the start
                promised_s -= start
            return cls(0, packets, promised_s, end - start)

    def refuse_cut_off(self, name: str, most: float) -> None:
        """Raise ClipFailed when more than the share ``most`` of what the file promises is not in it."""
        if self.promised - self.packets > max(FEW, most * self.promised):
            what = f"only {self.packets} of {self.promised} frames are in it"
        elif self.missing_s > max(SHORT_S, most * self.promised_s):
            what = f"only {self.seconds:.1f} of {self.promised_s:.1f} s are in it"
        else:
            return
        raise ClipFailed(f"{name}: cut off, {what}; copy the file again, or raise max_corrupt_share")


def _packets(container: InputContainer) -> Iterator[Packet[Any]]:
    """Packets of all streams that lie whole in the file; no more than it has bytes, however many its index names."""
    budget = max(container.size, 1)
    try:
        for packet in container.demux():
            if packet.size and not packet.is_corrupt:
                yield packet
            budget -= 1
            if budget <= 0:
                return
    except (FFmpegError, EOFError):
        return


def _end(packet: Packet[Any]) -> float:
    """When a packet's picture or sound ends, s."""
    at = packet.pts if packet.pts is not None else packet.dts
    return float((at + (packet.duration or 0)) * packet.time_base) if at is not None and packet.time_base else 0.0


def _seconds(ticks: int | None) -> float:
    return (ticks or 0) / av.time_base


def _riff_is_whole(path: Path) -> bool:
    """Whether an AVI file reaches as far as its first list says (it begins with "RIFF" and the list's bytes)."""
    with path.open("rb") as file:
        head = file.read(8)
    return 8 + int.from_bytes(head[4:8], "little") <= path.stat().st_size
