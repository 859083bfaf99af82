"""Faults of this machine that videos wait for now."""

from __future__ import annotations

from collections.abc import Iterator

from egoworld_resources.doctor.finding import Finding, Subject, check, ok, warning
from egoworld_resources.faults.waits import in_words, ledger_of


@check("waiting")
def waiting(subject: Subject) -> Iterator[Finding]:
    """Each cause once, with how many videos it holds up and when it is tried again."""
    found = ledger_of(subject.settings).waiting()
    for one in found:
        yield warning(one.cause.title, in_words(one), one.cause.fix)
    if not found:
        yield ok("videos", "none waits for this machine")
