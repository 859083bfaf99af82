"""What is asked of a run beside assets and partitions, and how far it is."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, field, replace

import dagster as dg

from egoworld_assets.orchestration.materializations import PartitionSummary
from egoworld_resources.making.waiting import Listener
from egoworld_resources.making.workbench import Workbench


@dataclass
class Request:
    """What is asked for beside assets and partitions; a run of the daemon asks for nothing of it.

    chosen: the videos that may be made, of all that a partition holds; None: every one. retried: (stage, video) of
    failures that a person asks for again. listener: called with what models report. walked: what the stages that are
    through came to, by name; filled while the run goes on, and kept when its step is tried again.
    """

    chosen: Container[str] | None = None
    retried: Container[tuple[str, str]] = ()
    listener: Listener | None = None
    walked: dict[str, Sequence[PartitionSummary]] = field(
        default_factory=dict[str, Sequence[PartitionSummary]], init=False
    )
    _listed: Sequence[str] | None = field(default=None, init=False)

    def all_videos(self, bench: Workbench) -> Sequence[str]:
        """Keys of all videos, listed once in a run; what arrives later is for the next."""
        if self._listed is None:
            self._listed = bench.store.keys("videos")
        return self._listed

    def for_each_run(self) -> dg.ResourceDefinition:
        """The resource: a copy for each run."""
        return dg.ResourceDefinition(lambda _context: replace(self))
