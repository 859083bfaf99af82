"""What can go wrong outside a model.

EgoworldError
├── Transient            trying again may help; Dagster retries it
│   ├── LockBusy         another process holds the lease or lock
│   └── StoreUnreachable the store does not answer
└── Terminal             trying again gives the same; the message says what to do
    ├── BadConfiguration a setting is wrong
    ├── UnknownName      an asset, stage, env or video that does not exist; lists those that do
    ├── DamagedArtifact  stored bytes are not those that the manifest names
    ├── RunnerFailed     the runner process ended without doing its job
    └── Quarantined      the video failed a check; the reason and the command that reproduces it are kept
"""

from __future__ import annotations

from collections.abc import Iterable


class EgoworldError(Exception):
    """Root of the tree. The message says what happened, to what, and what to do."""


class Transient(EgoworldError):
    """Trying again may help."""


class LockBusy(Transient):
    """Another process holds what is needed."""


class StoreUnreachable(Transient):
    """The store does not answer."""


class Terminal(EgoworldError):
    """Trying again gives the same result."""


class BadConfiguration(Terminal):
    """A setting is wrong; the message names it and where it came from."""


class UnknownName(Terminal):
    """A name that nothing has."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        listed = ", ".join(sorted(known)) or "none"
        super().__init__(f"unknown {kind} '{name}'; known: {listed}")


class DamagedArtifact(Terminal):
    """Stored bytes differ from their manifest."""


class RunnerFailed(Terminal):
    """A runner process ended without doing its job."""


class Quarantined(Terminal):
    """A video failed a check and waits for a person or a new recipe."""
