"""Batches of partitions: a run takes one, or a range of neighbours in the order in which Dagster got to know them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from egoworld_assets.orchestration.partitions import VIDEOS, unknown

PARTITION = "dagster/partition"
RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


def in_order(instance: dg.DagsterInstance, partitions: Sequence[str]) -> list[str]:
    """All partitions that Dagster has, then those of some that it does not know yet."""
    return [*instance.get_dynamic_partitions(str(VIDEOS.name)), *unknown(instance, partitions)]


def batches(order: Sequence[str], wanted: Collection[str], most: int) -> Iterator[list[str]]:
    """``wanted`` as runs can take it: neighbours in an order of all partitions, in bounded batches."""
    for group in contiguous(order, set(wanted)):
        yield from (group[start : start + most] for start in range(0, len(group), most))


def batches_of_stages(
    order: Sequence[str], wanted: Mapping[str, Sequence[str]], most: int
) -> Iterator[tuple[Sequence[str], list[str]]]:
    """Batches of partitions that want the same stages, with their names. wanted: names by partition."""
    for names in dict.fromkeys(tuple(names) for names in wanted.values()):
        same = {partition for partition, found in wanted.items() if tuple(found) == names}
        yield from ((names, batch) for batch in batches(order, same, most))


def contiguous(order: Sequence[str], wanted: Collection[str]) -> Iterator[list[str]]:
    """Neighbours in an order that are wanted: what one range can name."""
    group: list[str] = []
    for key in order:
        if key in wanted:
            group.append(key)
        elif group:
            yield group
            group = []
    if group:
        yield group


def run_request(
    batch: Sequence[str],
    run_key: str,
    run_config: dict[str, Any],
    stages: Iterable[str] | None = None,
    tags: Mapping[str, str] | None = None,
) -> dg.RunRequest:
    """One run over a batch; Dagster starts it once per run key. stages: names; None: all."""
    return dg.RunRequest(
        run_key=run_key,
        partition_key=batch[0] if len(batch) == 1 else None,
        asset_selection=None if stages is None else [dg.AssetKey(name) for name in stages],
        run_config=run_config,
        tags={**(tags or {}), **tags_of(batch)},
    )


def tags_of(batch: Sequence[str]) -> dict[str, str]:
    """By which Dagster knows the range of a run; none for a single partition, which a run has as its own."""
    return {} if len(batch) == 1 else dict(zip(RANGE, (batch[0], batch[-1]), strict=True))


def partitions_of(tags: Mapping[str, str], order: Sequence[str]) -> list[str]:
    """The partitions of a run, by its tags; none when it is for none, or when they are gone."""
    if PARTITION in tags:
        return [tags[PARTITION]]
    first, last = (tags.get(tag) for tag in RANGE)
    if first not in order or last not in order:
        return []
    return list(order[order.index(first) : order.index(last) + 1])
