"""Which Dagster partition a video belongs to: its own, or one of a fixed number of shards.

Only Dagster's partition keys are decided here. A key says by itself what it stands for, so a run that was asked for
under one layout means the same videos under any other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha256

BITS = 64
SHARD = re.compile(r"shard-(\d{1,6})-of-(\d{1,6})")
"""No video has such a key: a video's ends in 8 hex digits, a number of shards has 6 at most."""


def partition_of(video: str, shards: int) -> str:
    """The partition of a video: with 0 shards its own key, else its shard's, the same for the same key for ever.

    Twice as many shards split each shard into two.
    """
    if not shards:
        return video
    return f"shard-{shard_of(video, shards):0{len(str(shards - 1))}d}-of-{shards}"


def shard_of(video: str, shards: int) -> int:
    """The number of a video's shard, by the leading bits of the SHA-256 of its key: even whatever videos are called."""
    return int.from_bytes(sha256(video.encode()).digest()[: BITS // 8], "big") * shards >> BITS


def shards_in(partition: str) -> int:
    """How many shards the layout of a partition has; 0 when the partition is a video's own."""
    found = SHARD.fullmatch(partition)
    return int(found[2]) if found else 0


def videos_of(partitions: Iterable[str], videos: Callable[[], Sequence[str]]) -> dict[str, list[str]]:
    """The videos of some partitions. videos: all keys; asked only when a partition is a shard."""
    found: dict[str, list[str]] = {partition: [] for partition in partitions}
    for shards in {shards_in(partition) for partition in found}:
        for video in videos() if shards else [p for p in found if not shards_in(p)]:
            members = found.get(partition_of(video, shards))
            if members is not None:
                members.append(video)
    return found


def by_partition(videos: Iterable[str], shards: int) -> Mapping[str, list[str]]:
    """All partitions that have a video, in order, each with its videos."""
    found: dict[str, list[str]] = {}
    for video in videos:
        found.setdefault(partition_of(video, shards), []).append(video)
    return dict(sorted(found.items()))
