"""Which frames are damaged: what the file and its decoder reported, and all that rests on those pictures."""

from __future__ import annotations

import zlib
from array import array

import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from egoworld_runner.timing import MISSING

SILENT = ("hevc", "vp8", "vp9", "av1", "ffv1")
"""Decoders that show what they make of a lost block without a word."""
CAREFUL = ("h264", "mpeg4")
"""Decoders that notice when the end of a picture is missing."""
ZEROS = bytes(64)
"""What lost blocks of a file read as; the entropy coding of these codecs never gives that long a run of zeros."""

REORDERED = 32
"""A picture is shown at most this many pictures earlier or later than it is decoded."""

AHEAD = 3
"""How many packets a reader of MPEG-TS is ahead, at most, of the one that it gives."""


FOOTER = 8
"""Bytes behind each slice of FFV1 with checksums: its size (3), a status and the checksum (RFC 9043, 4.9)."""

MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
"""FFV1 counts the bits of a byte from the other end than zlib does."""


def slices_hold(data: bytes) -> bool:
    """Whether all slices of a packet of FFV1 have their right checksums. Its decoder says nothing of wrong ones."""
    end = len(data)
    while end >= FOOTER:
        start = end - FOOTER - int.from_bytes(data[end - FOOTER : end - FOOTER + 3], "big")
        if start < 0 or zlib.crc32(data[start:end].translate(MIRRORED), 0xFFFFFFFF) != 0xFFFFFFFF:
            return False
        end = start
    return end == 0


class Reports:
    """What was reported while the packets of a stream were decoded, one after the other, by one thread.

    errors: causes of packets that gave no picture. Frames are counted as the decoder gives them.
    """

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.frames = 0
        self._codec = ""
        self._pts = array("q")
        self._key = bytearray()
        self._packets: list[tuple[int, int]] = []
        self._frames: list[tuple[int, int]] = []
        self._lost: list[tuple[int, int]] = []
        self._checked = False
        self._unchecked: list[tuple[int, int]] = []

    def __bool__(self) -> bool:
        """Whether anything was reported."""
        return bool(self.errors or self._packets or self._frames or self._wrong)

    @property
    def _wrong(self) -> list[tuple[int, int]]:
        """Packets with wrong checksums, of a stream that has any."""
        return self._unchecked if self._checked else []

    def packet(self, packet: Packet[VideoStream], codec: str) -> None:
        """A packet that is decoded next."""
        self._pts.append(MISSING if packet.pts is None else packet.pts)
        self._key.append(packet.is_keyframe)
        self._codec = codec
        here = len(self._pts) - 1, self.frames
        if packet.is_corrupt or (codec in SILENT and ZEROS in bytes(packet)):
            self._packets.append(here)
        elif codec == "ffv1" and packet.size:
            holds = slices_hold(bytes(packet))
            self._checked |= holds
            self._unchecked += [] if holds else [here]

    def error(self, cause: str) -> None:
        """The last packet could not be read or decoded."""
        self.errors.append(cause)
        if self._pts:
            self._packets.append((len(self._pts) - 1, self.frames))
            self._lost.append(self._packets[-1])

    def frame(self, frame: VideoFrame) -> None:
        """A frame that the decoder gave."""
        if frame.is_corrupt:
            self._frames.append((self.frames, MISSING if frame.pts is None else frame.pts))
        self.frames += 1

    def damaged(self, pts: NDArray[np.int64], key: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which frames are not as they were filmed, bool [n]; pts and key: those of all frames.

        A damaged picture spoils what is decoded after it, up to the next key frame: of all that the first such frame
        and all behind it in presentation order count.
        """
        found = np.zeros(len(pts), np.bool_)
        keys = np.flatnonzero(key)
        number = {int(at): packet for packet, at in enumerate(self._pts)}
        for frame, at in self._frames:
            first, earliest = frame, self._earliest(number[at]) if at in number else MISSING
            while first > max(0, frame - REORDERED) and earliest != MISSING and pts[first - 1] >= earliest:
                first -= 1
            found[first : _next(keys, frame + 1, len(pts))] = True
        lost = set(self._lost)
        for packet, given in [*self._packets, *self._wrong]:
            if (packet, given) not in lost and self._joined(packet):
                continue
            first = self._shown(packet, given, pts)
            itself = first < len(pts) and int(pts[first]) == self._pts[packet] != MISSING
            found[first : _next(keys, first + itself, len(pts))] = True
        return found

    def behind_lost(self, pts: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which frames follow on a picture that was lost, bool [n]."""
        found = np.zeros(len(pts), np.bool_)
        shown = (self._shown(packet, given, pts) for packet, given in self._lost)
        found[[frame for frame in shown if 0 < frame < len(pts)]] = True
        return found

    def _shown(self, packet: int, given: int, pts: NDArray[np.int64]) -> int:
        """The first frame that a packet can have spoiled, of those behind the first ``given`` frames.

        None, which is the number of frames, before the first key packet: of that nothing is shown.
        """
        if self._key.find(1, 0, packet + 1) < 0:
            return len(pts)
        first, earliest = given, self._earliest(packet)
        while first < min(len(pts), given + REORDERED) and pts[first] < earliest:
            first += 1
        return first

    def _joined(self, packet: int) -> bool:
        """Whether another recording follows: what counts packets misses some where two were joined, yet none is lost.

        It begins with a key packet, where the clock falls or a decoder that would notice has found no fault. A reader
        notices some packets early, since it reads ahead.
        """
        keys = [one for one in range(packet + 1, min(packet + 1 + AHEAD, len(self._pts))) if self._key[one]]
        return any(self._codec in CAREFUL or self._pts[one] < self._pts[packet] for one in keys)

    def _earliest(self, packet: int) -> int:
        """The least timestamp of a packet and those behind it, up to the next key packet; MISSING for none."""
        stop = self._key.find(1, packet + 1)
        stop = min(packet + REORDERED, stop if stop > 0 else len(self._pts))
        return min((at for at in self._pts[packet:stop] if at != MISSING), default=MISSING)


def _next(keys: NDArray[np.intp], frame: int, end: int) -> int:
    """The first key frame at or behind a frame."""
    place = int(np.searchsorted(keys, frame))
    return int(keys[place]) if place < len(keys) else end
