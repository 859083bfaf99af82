"""What waits until a fault that is no video's is gone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from egoworld_resources.artifacts.stage import Stage
from egoworld_resources.errors import EgoworldError, Transient
from egoworld_resources.faults.causes import Cause, Work, cause_of
from egoworld_resources.faults.waits import EVERYTHING
from egoworld_resources.making.state import Outcome

if TYPE_CHECKING:
    from egoworld_resources.making.workbench import Workbench
    from egoworld_resources.running.process import Event

Listener = Callable[[str, "Event"], None]
"""Called with the stage and an event of its model."""
log = logging.getLogger(__name__)


@dataclass
class Run:
    """One run that makes artifacts: what its manifests name it, and what it has met.

    tried: key of the known cause that is tried in spite of what is known of it, empty for none; EVERYTHING: nothing
    known holds this run up. unrecorded: videos that wait although the ledger could not be written.
    """

    id: str
    listener: Listener | None = None
    tried: str = EVERYTHING
    unrecorded: set[str] = field(default_factory=set[str])


def work_at(bench: Workbench, stage: Stage) -> Work:
    """What making an asset needs, as far as it can be known."""
    env = bench.env_of(stage)
    try:
        return Work(stage.name, env, bench.recipe(stage).device == "cuda")
    except Exception:  # noqa: BLE001 making it will show what is wrong
        return Work(stage.name, env)


def wait(bench: Workbench, run: Run, stage: Stage, videos: Sequence[str], why: Exception | Cause) -> dict[str, Outcome]:
    """These wait until a fault that is not theirs is gone: it was met, or is known and not tried now."""
    work = work_at(bench, stage)
    cause = why if isinstance(why, Cause) else cause_of(why, work)
    note = bench.waits.join if isinstance(why, Cause) else bench.waits.hit
    if not note(cause, work, videos):
        run.unrecorded.update(videos)
    if isinstance(why, Exception) and not isinstance(why, EgoworldError):
        log.error("%s: %s", stage.name, cause.title, exc_info=why)
    transient, said = isinstance(why, Transient), f"{cause.title}: {cause.detail}"
    return {video: Outcome(video, "failed", said, transient=transient, cause=cause) for video in videos}
