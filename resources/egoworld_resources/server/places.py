"""Where the parts of a server listen: Unix sockets in folders that only the server's user may enter."""

from __future__ import annotations

import pwd
from dataclasses import dataclass
from pathlib import Path

from egoworld_resources.server.launch import unprivileged
from egoworld_resources.sockets import private_folder, runtime_folder


@dataclass(frozen=True)
class Places:
    """The sockets of the server whose state lies in ``state``."""

    state: Path

    @property
    def folder(self) -> Path:
        return runtime_folder(self.state)

    @property
    def postgres(self) -> Path:
        """The folder of Postgres' socket: when we are root it belongs to the user that Postgres runs as."""
        return self.folder / "postgres"

    @property
    def temporary(self) -> Path:
        """Where Dagster's code server makes sockets of its own."""
        return self.folder / "tmp"

    def of(self, part: str) -> Path:
        """The socket of a part."""
        return self.folder / "parts" / f"{part}.sock"

    def make(self) -> None:
        """Make the folders, or see that they are ours. Raises BadConfiguration."""
        user = unprivileged()
        private_folder(self.folder, 0o711 if user else 0o700)
        private_folder(self.folder / "parts")
        private_folder(self.temporary)
        private_folder(self.postgres, owner=pwd.getpwnam(user).pw_uid if user else None)
