"""How an artifact stands against the current code, lock, weights, parameters and inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar

from egoworld_resources.artifacts.made import Artifact
from egoworld_resources.artifacts.manifest import Manifest, Recipe
from egoworld_resources.artifacts.stage import Stage
from egoworld_resources.artifacts.staleness import fingerprint, reasons
from egoworld_resources.errors import UnknownName
from egoworld_resources.faults.causes import Cause, is_the_videos

Condition = Literal["fresh", "stale", "missing", "failed", "quarantined", "blocked"]
SOURCE = "source"
VIDEOS = "videos"
"""The asset that counts the frames of a video."""


A = TypeVar("A", bound=Artifact, covariant=True)


class Facts(Protocol[A]):
    """What decides how an artifact stands: a store, or its index."""

    def current(self, asset: str, video: str) -> A | None: ...
    def recorded(self, kind: str, key: str) -> dict[str, Any] | None: ...
    def keys(self, kind: str) -> list[str]: ...


@dataclass(frozen=True)
class State(Generic[A]):
    """How one asset of one video stands, and why. inputs: data versions that it would be made from now."""

    condition: Condition
    why: str
    manifest: A | None
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


def state_of(store: Facts[A], recipe_of: Callable[[Stage], Recipe], stage: Stage, video: str) -> State[A]:
    """How an asset of a video stands. recipe_of: how a stage would be made now; asked only when its inputs are there.

    Raises UnknownName for a video that the store does not have, and what ``recipe_of`` raises.
    """
    inputs, missing = inputs_of(store, stage, video)
    made = store.current(stage.name, video)
    failure = store.recorded("failures", f"{stage.name}/{video}")
    if missing:
        return State("blocked", missing, made, inputs)
    recipe = recipe_of(stage)
    print_now = fingerprint(recipe, inputs)
    if failure and failure["fingerprint"] == print_now and is_the_videos(failure):
        return State("failed", failure["reason"], made, inputs)
    if made is None:
        return State("missing", "never made", None, inputs)
    if made.fingerprint != print_now:
        why = "; ".join(reasons(made, recipe, inputs)) or "made by another recipe"
        return State("stale", why, made, inputs)
    if made.quarantine:
        return State("quarantined", made.quarantine, made, inputs)
    return State("fresh", "", made, inputs)


def inputs_of(store: Facts[Artifact], stage: Stage, video: str) -> tuple[dict[str, str | None], str]:
    """Data versions of the inputs now, and why the stage cannot be made (empty when it can). Raises UnknownName."""
    source = store.recorded("videos", video)
    if source is None:
        raise UnknownName("video", video, store.keys("videos"))
    inputs: dict[str, str | None] = {SOURCE: source["sha256"]}
    missing = ""
    for asset in (*stage.inputs, *stage.optional):
        found = store.current(asset, video)
        needed = asset in stage.inputs
        inputs[asset] = None
        if found is None:
            missing = missing or (f"{asset} has not been made" if needed else "")
        elif found.quarantine and not (stage.shows_quarantined and not needed):
            missing = missing or (f"{asset} is quarantined: {found.quarantine}" if needed else "")
        else:
            inputs[asset] = found.data_version
    for kind in stage.annotations:
        said = store.current(kind, video)
        if said and said.inputs[SOURCE] == source["sha256"]:
            inputs[kind] = said.data_version
    return inputs, missing
