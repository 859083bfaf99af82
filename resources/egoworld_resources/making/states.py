"""How an artifact stands, and what making it came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from egoworld_resources.artifacts.manifest import Manifest, Recipe
from egoworld_resources.artifacts.stage import Stage
from egoworld_resources.faults.causes import Cause
from egoworld_resources.running.process import Ran
from egoworld_runner.job import Job

Condition = Literal["fresh", "stale", "missing", "failed", "quarantined", "blocked"]
SOURCE = "source"


@dataclass(frozen=True)
class State:
    """How one asset of one video stands, and why. inputs: data versions that it would be made from now."""

    condition: Condition
    why: str
    manifest: Manifest | None
    inputs: Mapping[str, str | None]


@dataclass(frozen=True)
class Outcome:
    """What making one asset of one video came to. left: it was not asked for.

    cause: the fault that it waits for, which is not its own; transient: one that may be gone in a moment.
    """

    video: str
    state: Literal["made", "fresh", "failed", "blocked", "left"]
    why: str = ""
    manifest: Manifest | None = None
    transient: bool = False
    cause: Cause | None = None


@dataclass
class Making:
    """One run of a model over a batch: what every artifact of it has in common."""

    stage: Stage
    recipe: Recipe
    run_id: str
    scratch: Path
    python: Path | None = None
    gpu: str | None = None
    seconds: float = 0.0
    job: Job | None = None
    ran: Ran = field(default_factory=Ran)


def tried(before: Mapping[str, Any] | None, now: str) -> dict[str, Any]:
    """How often something was tried in a row without success, since when, and when last; by the record before."""
    before = before or {}
    since = before.get("since") or before.get("at") or now
    return {"attempts": before.get("attempts", 0) + 1, "since": since, "at": now}
