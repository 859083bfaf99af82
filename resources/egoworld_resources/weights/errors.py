"""What can go wrong with weights."""

from __future__ import annotations

from egoworld_resources.errors import Terminal, Transient


class WeightsMissing(Terminal):
    """A weights file is absent or not the one that the env declares."""


class WeightsRefused(Terminal):
    """A model is not taken in: its files are not those that were promised, or nothing says what they should be."""


class NotOnHub(Terminal):
    """A hub of models has no such repository, or not that revision of it."""


class HubUnreachable(Transient):
    """A hub of models does not answer, stalls or breaks off; what arrived is kept."""
