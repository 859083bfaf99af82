"""Videos over shards: even, the same for ever, and told by the key alone."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as some

from egoworld_assets.orchestration.shards import SHARD, by_partition, partition_of, shards_in, videos_of
from egoworld_resources.layout import KEY, video_key

VIDEOS = [f"kitchen-{number:05d}-{number:08x}" for number in range(40_000)]


def test_without_shards_each_video_is_a_partition() -> None:
    assert partition_of("kitchen-01-0a1b2c3d", 0) == "kitchen-01-0a1b2c3d"
    assert shards_in("kitchen-01-0a1b2c3d") == 0


@pytest.mark.parametrize("shards", [1, 7, 64, 1000])
def test_numbered_names_spread_evenly(shards: int) -> None:
    """Within six standard deviations of an even spread."""
    counts = Counter(partition_of(video, shards) for video in VIDEOS)
    mean = len(VIDEOS) / shards
    assert len(counts) == shards
    assert max(abs(count - mean) for count in counts.values()) <= 6 * mean**0.5


def test_a_video_never_moves() -> None:
    """Another function here would have every shard of every home made again."""
    assert partition_of("kitchen-01-0a1b2c3d", 4096) == "shard-1472-of-4096"
    assert partition_of("kitchen-01-0a1b2c3d", 10) == "shard-3-of-10"
    assert partition_of("kitchen-01-0a1b2c3d", 100_000) == "shard-35951-of-100000"


def test_twice_as_many_shards_split_each_into_two() -> None:
    for video in VIDEOS[:1000]:
        few, many = (
            int(str(SHARD.fullmatch(partition_of(video, n)) and partition_of(video, n)[6:9])) for n in (500, 1000)
        )
        assert many // 2 == few


@given(name=some.text(min_size=1).filter(str.strip), shards=some.integers(1, 100_000))
def test_no_video_has_the_key_of_a_shard(name: str, shards: int) -> None:
    key = video_key(name)
    assert shards_in(key) == 0
    assert KEY.fullmatch(partition_of(key, shards))
    assert shards_in(partition_of(key, shards)) == shards
    assert shards_in(video_key(partition_of(key, shards))) == 0, "a file that is called like a shard"


@given(videos=some.lists(some.sampled_from(VIDEOS), unique=True), shards=some.integers(1, 50))
def test_the_partitions_hold_each_video_once(videos: list[str], shards: int) -> None:
    grouped = by_partition(videos, shards)
    assert sorted(video for members in grouped.values() for video in members) == sorted(videos)
    assert videos_of(grouped, lambda: videos) == grouped


def test_a_key_means_the_same_under_any_layout() -> None:
    """Also when keys of several layouts come together, and a partition without videos has none."""
    shard, other = partition_of(VIDEOS[0], 8), partition_of(VIDEOS[1], 3)
    found = videos_of([shard, VIDEOS[5], other, "shard-9-of-10"], lambda: VIDEOS[:2])
    assert found == {
        shard: found[shard],
        VIDEOS[5]: [VIDEOS[5]],
        other: found[other],
        "shard-9-of-10": found["shard-9-of-10"],
    }
    assert VIDEOS[0] in found[shard]
    assert VIDEOS[1] in found[other]


def test_keys_are_not_listed_for_partitions_of_one_video() -> None:
    def listed() -> list[str]:
        raise AssertionError("listed")

    assert videos_of(VIDEOS[:2], listed) == {video: [video] for video in VIDEOS[:2]}
