"""A kit that is not taken."""

from __future__ import annotations

from egoworld_resources.errors import Terminal


class KitRefused(Terminal):
    """Something about a kit is not as it must be; the message names the file, what is wrong and what to do."""
