"""The report that a runner leaves of one clip, read as the words of somebody who may mean harm."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, cast

from egoworld_resources.artifacts.manifest import ClipReport
from egoworld_resources.running.outputs import NotTaken, read_small
from egoworld_runner.job import REPORT

REPORT_BYTES = 4 << 20
TEXT = 2000
"""Characters of a reason or note that are kept."""
MOST_NAMES = 10_000
WHOLE_NUMBERS = 1 << 53
"""Larger ones are not the same in every JSON reader."""
UNSHOWN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
STATES = ("done", "failed")


def clip_report(folder: int, unit: str) -> ClipReport:
    """The report in an open folder of a clip; one that is missing or not readable is that of a failed clip."""
    try:
        written = read_small(folder, REPORT, REPORT_BYTES)
        if written is None:
            return failed(unit, "the runner left no report for this clip")
        return _parsed(unit, json.loads(written))
    except NotTaken as error:
        return failed(unit, f"the runner's report was not taken: {error}")
    except (ValueError, RecursionError) as error:
        return failed(unit, f"the runner's report {REPORT} cannot be read ({type(error).__name__}: {error})")


def failed(unit: str, reason: str) -> ClipReport:
    """A clip of which nothing is taken, and why."""
    return ClipReport(unit=unit, state="failed", reason=shown(reason))


def shown(text: str) -> str:
    """A text of bounded length that every reader, terminal and database takes."""
    return UNSHOWN.sub("\ufffd", text[:TEXT])


def _parsed(unit: str, raw: object) -> ClipReport:
    """A report from its JSON; raises ValueError naming the field that is wrong."""
    fields = _names(raw, "a report")
    state, reason = fields.get("state"), fields.get("reason", "")
    if state not in STATES:
        raise ValueError(f"state must be one of {', '.join(STATES)}")
    if not isinstance(reason, str):
        raise ValueError("reason must be text")  # noqa: TRY004 it is the runner's word, no mistake of a caller
    rows = {shown(name): _count(name, count) for name, count in _names(fields.get("rows", {}), "rows").items()}
    notes = {shown(name): _note(name, note) for name, note in _names(fields.get("notes", {}), "notes").items()}
    seconds = fields.get("seconds", 0.0)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < WHOLE_NUMBERS:
        raise ValueError("seconds must be a number that is not negative")
    return ClipReport(unit=unit, state=state, reason=shown(reason), seconds=float(seconds), rows=rows, notes=notes)


def _names(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict) or len(cast("dict[str, Any]", value)) > MOST_NAMES:
        raise ValueError(f"{what} must be an object of at most {MOST_NAMES} names")
    return cast("dict[str, Any]", value)


def _count(table: str, count: object) -> int:
    if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count < WHOLE_NUMBERS:
        raise ValueError(f"rows of {table[:40]} must be a whole number that is not negative")
    return count


def _note(name: str, note: object) -> float | int | str:
    """A note; a number that JSON cannot hold is kept as text."""
    if isinstance(note, str):
        return shown(note)
    if isinstance(note, float) and math.isfinite(note):
        return note
    if isinstance(note, int) and abs(note) < WHOLE_NUMBERS:
        return int(note)
    if isinstance(note, int | float):
        return shown(str(note))
    raise ValueError(f"note {name[:40]} must be a number or text")
