"""Dagster's partitions: one a video, or one a shard of videos."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import dagster as dg

from egoworld_assets.orchestration.shards import by_partition, shards_in
from egoworld_resources.making.workbench import Workbench

VIDEOS = dg.DynamicPartitionsDefinition(name="videos")
"""One partition per video file, or per shard of them: settings.shards. Clips are rows, never partitions."""


AT_ONCE = 5_000
"""Partitions that are added to Dagster in one request."""


def unknown(instance: dg.DagsterInstance, partitions: Sequence[str]) -> list[str]:
    """Those of some partitions that Dagster does not have yet."""
    known = set(instance.get_existing_dynamic_partitions(str(VIDEOS.name), partitions))
    return [partition for partition in partitions if partition not in known]


def add_partitions(bench: Workbench, instance: dg.DagsterInstance, videos: Iterable[str]) -> None:
    """Have a partition for each of some videos."""
    new = unknown(instance, list(by_partition(videos, bench.settings.shards)))
    for start in range(0, len(new), AT_ONCE):
        instance.add_dynamic_partitions(str(VIDEOS.name), new[start : start + AT_ONCE])


def sync_partitions(bench: Workbench, instance: dg.DagsterInstance) -> None:
    """Make Dagster's partitions those of the layout in force: add what a video lacks, drop those of another layout."""
    add_partitions(bench, instance, bench.store.keys("videos"))
    for partition in of_another_layout(bench, instance):
        instance.delete_dynamic_partition(str(VIDEOS.name), partition)


def of_another_layout(bench: Workbench, instance: dg.DagsterInstance) -> list[str]:
    """Dagster's partitions that the layout in force does not have."""
    known = instance.get_dynamic_partitions(str(VIDEOS.name))
    return [partition for partition in known if shards_in(partition) != bench.settings.shards]


def layout_changes(
    bench: Workbench, instance: dg.DagsterInstance
) -> list[dg.AddDynamicPartitionsRequest | dg.DeleteDynamicPartitionsRequest]:
    """The same as requests of a sensor, at most AT_ONCE of each kind; none when all is as it should be."""
    new = unknown(instance, list(by_partition(bench.store.keys("videos"), bench.settings.shards)))
    old = of_another_layout(bench, instance)
    requests: list[dg.AddDynamicPartitionsRequest | dg.DeleteDynamicPartitionsRequest] = []
    if new:
        requests.append(VIDEOS.build_add_request(new[:AT_ONCE]))
    if old:
        requests.append(VIDEOS.build_delete_request(old[:AT_ONCE]))
    return requests
