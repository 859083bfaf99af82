"""The audit entry of one operation, and text that every database accepts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from egoworld_resources.workflow_envs.actors import Actor

LONGEST_TEXT = 16_384
"""Characters of a message that are kept: a resolver's explanation fits, the output of a build does not."""


@dataclass(frozen=True)
class Began:
    """An operation whose start is in the audit.

    id: 32 hex digits; parts: workflow, node and version of the key ("" without one); started_at: seconds since 1970;
    lock_before: digest of the env's lock when it began ("" without one).
    """

    id: str
    action: str
    folder: str
    parts: tuple[str, str, str]
    actor: Actor
    details: Mapping[str, Any]
    started_at: float
    lock_before: str = ""


@dataclass(frozen=True)
class Operation:
    """Start and end of an operation together. Until it ends, ended_at and seconds are None and result is ""."""

    id: str
    action: str
    folder: str
    parts: tuple[str, str, str]
    actor: str
    origin: str
    details: Mapping[str, Any]
    started_at: float
    ended_at: float | None
    result: str
    message: str
    seconds: float | None
    lock_before: str
    lock_after: str


def plain(text: str) -> str:
    """The text as both databases take it: no NUL, no lone surrogate, at most LONGEST_TEXT characters."""
    left_out = len(text) - LONGEST_TEXT
    if left_out > 0:
        text = f"{text[:LONGEST_TEXT]} … ({left_out} more characters)"
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\x00")
