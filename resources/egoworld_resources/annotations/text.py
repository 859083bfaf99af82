"""The JSON in which people say something about a video: read strictly, for anybody may have written it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from egoworld_runner.annotations import KINDS, BadAnnotation, Pictures, check

MOST_BYTES = 48 << 10
"""Some hundred prompts."""
DEEPEST = 8
LARGEST = 1e9
"""Of numbers: each is a count of px or frames, or smaller."""


def annotations_in(text: bytes, pictures: Pictures | None = None) -> dict[str, Any]:
    """What is said in a text, by kind. pictures: of the video, where they are known. Raises BadAnnotation."""
    said = parsed(text)
    if not isinstance(said, Mapping) or not said:
        raise BadAnnotation(f"it must be a JSON object with {' or '.join(KINDS)}")
    if unknown := sorted(set(said) - set(KINDS)):
        raise BadAnnotation(f"{', '.join(map(repr, unknown))} is not known; valid: {', '.join(KINDS)}")
    for kind, value in said.items():
        check(kind, value, pictures)
    return dict(said)


def parsed(text: bytes) -> Any:
    """JSON of a bounded size and depth with plain numbers and no name twice. Raises BadAnnotation."""
    if len(text) > MOST_BYTES:
        raise BadAnnotation(f"it is larger than {MOST_BYTES >> 10} KiB")
    try:
        said = json.loads(text, object_pairs_hook=_once, parse_constant=_refused)
    except RecursionError:
        raise BadAnnotation(f"it is nested deeper than {DEEPEST} levels") from None
    except BadAnnotation:
        raise
    except ValueError as error:
        raise BadAnnotation(f"it is not JSON: {error}") from None
    _bounded(said, DEEPEST)
    return said


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise BadAnnotation(f"{next(name for name in names if names.count(name) > 1)!r} is named twice")
    return found


def _refused(constant: str) -> Any:
    raise BadAnnotation(f"{constant} is no number of JSON")


def _bounded(value: Any, depth: int) -> None:
    if depth < 0:
        raise BadAnnotation(f"it is nested deeper than {DEEPEST} levels")
    if isinstance(value, int | float) and not abs(value) <= LARGEST:
        raise BadAnnotation(f"numbers must be at most {LARGEST:g}")
    if isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            _bounded(one, depth - 1)
