"""How a part is started: one program, its arguments, and the variables that it alone is given."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from egoworld_resources.errors import BadConfiguration

LOOPBACK = "127.0.0.1"
MARK = "EGOWORLD_PART"
"""The variable by which a process is known as a part of a server, also when its supervisor is gone."""
SUPERVISED = "EGOWORLD_SUPERVISED"
"""Set by our supervisor for what it starts."""
KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "USER", "LOGNAME")
"""What every part keeps of the environment; no part sees the secrets of another."""


@dataclass(frozen=True)
class Launch:
    """A program with its arguments and variables; ``user`` is who it runs as when we are root and it refuses root."""

    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    user: str | None = None

    @property
    def environment(self) -> dict[str, str]:
        """The whole environment of the part."""
        return {name: os.environ[name] for name in KEPT if name in os.environ} | dict(self.env)

    def start(self, log: Path) -> subprocess.Popen[bytes]:
        """Start it as a child, in a process group of its own; what it says is appended to ``log``."""
        with log.open("ab") as out:
            user, group, groups = self._identity()
            return subprocess.Popen(
                self.command,
                env=self.environment,
                stdout=out,
                stderr=out,
                start_new_session=True,
                user=user,
                group=group,
                extra_groups=groups,
            )

    def run(self, folder: Path, said: str = "") -> subprocess.CompletedProcess[str]:
        """Run it to its end in ``folder``, ``said`` on its standard input."""
        user, group, groups = self._identity()
        return subprocess.run(
            self.command,
            cwd=folder,
            env=self.environment,
            input=said,
            capture_output=True,
            text=True,
            check=False,
            user=user,
            group=group,
            extra_groups=groups,
        )

    def become(self) -> NoReturn:
        """Become that program: the supervisor's child is the part itself."""
        user, group, groups = self._identity()
        if user is not None and group is not None and groups is not None:
            os.setgroups(groups)
            os.setgid(group)
            os.setuid(user)
        os.execve(self.command[0], self.command, self.environment)

    def _identity(self) -> tuple[int, int, list[int]] | tuple[None, None, None]:
        """uid, gid and further groups to take on."""
        if self.user is None:
            return None, None, None
        entry = pwd.getpwnam(self.user)
        return entry.pw_uid, entry.pw_gid, []


def unprivileged() -> str | None:
    """Who a part that refuses root runs as: None when we are an ordinary user ourselves."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    for name in ("postgres", "nobody"):
        if name in names:
            return name
    raise BadConfiguration(
        "Postgres refuses to run as root and there is no user 'postgres' or 'nobody'; run as an ordinary user"
    )


def reachable(user: str, path: Path) -> None:
    """Raises BadConfiguration when ``user`` may not enter a folder on the way to ``path``, naming it and the fix."""
    test = shutil.which("test") or "/usr/bin/test"
    for part in [*reversed(path.parents), path]:
        if Launch((test, "-x", str(part)), user=user).run(Path("/")).returncode != 0:
            raise BadConfiguration(
                f"as root, Postgres runs as '{user}', who may not enter {part}; run make as an ordinary user, "
                f"or let others pass: chmod o+x {part}"
            )
