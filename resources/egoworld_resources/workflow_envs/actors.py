"""Who asks for an operation, for the audit."""

from __future__ import annotations

import getpass
from dataclasses import dataclass


@dataclass(frozen=True)
class Actor:
    """name: a token's name, a user of this machine, "dagster"; origin: "http 127.0.0.1:5312", "cli", "run <id>"."""

    name: str
    origin: str

    @classmethod
    def at_terminal(cls) -> Actor:
        """The user of this process, at the command line."""
        return cls(getpass.getuser(), "cli")
