"""Which versions of its inputs a materialization rests on, in the tags by which Dagster tells what is stale.

Dagster writes them itself where a run is for one partition, and for several partitions only one set for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from egoworld_resources.artifacts.stage import Stage

VERSION = "dagster/data_version"
INPUT_VERSION = "dagster/input_data_version"
INPUT_EVENT = "dagster/input_event_pointer"
NOTHING = ("NULL", "-1")
"""Version and event of an input that is not there: whatever comes later is newer."""
MADE = dg.DagsterEventType.ASSET_MATERIALIZATION


def inputs_of(instance: dg.DagsterInstance, stage: Stage, partitions: Sequence[str]) -> dict[str, dict[str, str]]:
    """Tags of each of some partitions: every input with its data version and the event that recorded it, as of now.

    To be asked before anything is made: an input that changes meanwhile then counts as newer.
    """
    tags: dict[str, dict[str, str]] = {partition: {} for partition in partitions}
    for asset in (*stage.inputs, *stage.optional):
        key = dg.AssetKey(asset)
        events = instance.get_latest_storage_id_by_partition(key, MADE, set(partitions))
        latest = instance.event_log_storage.get_latest_tags_by_partition(key, MADE, [VERSION], list(partitions))
        for partition in partitions:
            version, event = NOTHING
            if partition in events:
                version, event = latest.get(partition, {}).get(VERSION, version), str(events[partition])
            tags[partition] |= {f"{INPUT_VERSION}/{asset}": version, f"{INPUT_EVENT}/{asset}": event}
    return tags
