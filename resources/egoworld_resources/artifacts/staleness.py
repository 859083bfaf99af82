"""Whether an artifact is stale: its fingerprint, and why it differs from what would be made now."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from egoworld_resources.artifacts.made import Artifact
from egoworld_resources.artifacts.manifest import NOT_CONTENTS, Recipe, canonical
from egoworld_runner.annotations import KINDS


def fingerprint(recipe: Recipe, inputs: Mapping[str, str | None]) -> str:
    """Digest of all that decides an artifact's contents."""
    decides = _sorted_names(recipe.model_dump_json(exclude=NOT_CONTENTS))
    text = f'{{"inputs":{canonical(dict(inputs))},"recipe":{decides}}}'
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


@lru_cache(64)
def _sorted_names(text: str) -> str:
    """Canonical JSON of JSON: a status asks for few recipes and many inputs."""
    return canonical(json.loads(text))


def reasons(made: Artifact, recipe: Recipe, inputs: Mapping[str, str | None]) -> list[str]:
    """Why an artifact is stale, in words; empty when it is fresh."""
    return [*recipe_reasons(made.recipe, recipe), *input_reasons(made.inputs, inputs)]


def recipe_reasons(old: Recipe, new: Recipe) -> Iterator[str]:
    """What sets two recipes apart, in words."""
    if old.env != new.env:
        yield f"served by env {new.env} instead of {old.env}"
        return
    if old.model != new.model:
        yield f"model changed: {old.model} → {new.model}"
    if old.runner != new.runner:
        yield f"runner source of {new.env} changed"
    if old.contract != new.contract:
        yield "the runner contract changed"
    if old.lock != new.lock:
        yield f"lock of {new.env} changed: {_changes(old.packages, new.packages) or 'same versions, other files'}"
    if old.weights != new.weights:
        yield f"weights changed: {_changes(old.weights, new.weights, shorten=12)}"
    if old.params != new.params:
        yield f"parameters changed: {_changes(old.params, new.params)}"
    if old.files != new.files:
        yield f"files named by parameters changed: {_changes(old.files, new.files, shorten=12)}"
    if old.device != new.device:
        yield f"device changed: {old.device} → {new.device}"


def input_reasons(old: Mapping[str, str | None], new: Mapping[str, str | None]) -> Iterator[str]:
    """What sets the versions of two sets of inputs apart, in words."""
    for name in sorted({*old, *new}):
        if name in KINDS:
            yield from _said(name, old.get(name), new.get(name))
        elif name not in old:
            yield f"input {name} is new"
        elif name not in new:
            yield f"input {name} is no longer used"
        elif old[name] != new[name]:
            yield f"input {name} has new contents" if old[name] and new[name] else f"input {name} came or went"


def _said(kind: str, old: str | None, new: str | None) -> Iterator[str]:
    """What became of what a person said about the video."""
    if old != new:
        yield f"{kind} {'changed' if old and new else 'given' if new else 'taken back'}"


def _changes(old: Mapping[str, Any], new: Mapping[str, Any], shorten: int | None = None) -> str:
    def show(values: Mapping[str, Any], name: str) -> str:
        return str(values[name])[:shorten] if name in values else "none"

    names = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    return ", ".join(f"{name} {show(old, name)} → {show(new, name)}" for name in names)
