"""Small facts as JSON: one that cannot be read is named with its file and what to do, and does not hide the others."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from egoworld_resources.errors import DamagedArtifact

log = logging.getLogger(__name__)

Fact = dict[str, Any]


def parsed(body: bytes, what: str) -> Fact:
    """A fact of its JSON. Raises DamagedArtifact naming ``what``, the file or object that it was read from."""
    try:
        found = json.loads(body)
    except ValueError as error:
        raise damaged(what, error) from error
    if not isinstance(found, dict):
        raise damaged(what, "no JSON object")
    return found


def damaged(what: str, why: object, purpose: str = "") -> DamagedArtifact:
    """What cannot be read, why, and what to do. purpose: what removing it does."""
    reason = " ".join(str(why).split())
    return DamagedArtifact(f"{what} cannot be read ({reason}); remove it {purpose}".rstrip())


def sound_ones(facts: Iterable[tuple[str, Callable[[], Fact | None]]]) -> Iterator[tuple[str, Fact]]:
    """The facts that are there, each with its key; one that is damaged is named in the log and left out."""
    for key, read in facts:
        try:
            value = read()
        except DamagedArtifact as error:
            log.warning("%s", error)
            continue
        if value is not None:
            yield key, value
