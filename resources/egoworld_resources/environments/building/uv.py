"""Calling uv: quiet, without downloads of Python, with its own words carried in the error."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path

from egoworld_resources.environments.errors import EnvBuildFailed, IndexUnreachable, UvMissing
from egoworld_resources.environments.guard import Guard, Judge, guarding
from egoworld_resources.leases.locks import open_lock
from egoworld_resources.programs.environment import uv_environment
from egoworld_resources.programs.output import Words, words_of
from egoworld_resources.programs.redaction import redacted

UNREACHABLE = (
    "dns error",
    "failed to lookup address",
    "error sending request",
    "Connection refused",
    "Connection reset",
    "operation timed out",
    "Network connectivity is disabled",
    "Could not resolve host",
    "Failed to connect to",
    "502 Bad Gateway",
    "504 Gateway Timeout",
)
ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.ENOEXEC, errno.ELOOP})
"""Why a program does not start that is at fault itself; else it is the machine that has nothing left."""
FIX = "put it back with: make setup (on a server that a kit was installed on: install the kit again)"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


class Uv:
    """The uv program with its cache. Run it outside any project: the pyproject.toml there would change what it does."""

    def __init__(self, program: Path, cache: Path, judge: Judge | None = None) -> None:
        """judge: decides which addresses uv may contact, redirects included; without it uv contacts any address."""
        self.program = program
        self.cache = cache
        self._judge = judge

    def judged_by(self, judge: Judge) -> Uv:
        """The same uv, which contacts only what ``judge`` allows."""
        return Uv(self.program, self.cache, judge)

    def run(self, arguments: Sequence[str | Path], cwd: Path, held: Sequence[int] = (), what: str = "uv") -> str:
        """Run uv and return its standard output.

        ``held`` are descriptors of locks that uv inherits: when we are killed, they stay locked until uv too has ended.
        Raises UvMissing, IndexUnreachable when packages could not be fetched, EnvBuildFailed for everything else,
        and what the judge raised for an address that uv was led to.
        """
        own_lock(self.cache)
        kept = uv_environment()
        kept |= {"UV_CACHE_DIR": str(self.cache), "UV_PYTHON_DOWNLOADS": "never", "NO_COLOR": "1"}
        if CERTIFICATES.is_file():
            kept.setdefault("UV_SYSTEM_CERTS", "true")  # a site's own authority is known to the system only
        command = [
            str(self.program),
            "--no-progress",
            "--preview-features",
            "pylock",
            *(str(argument) for argument in arguments),
        ]
        with words_of(["uv", *command[4:]]) as words, self._guarded() as guard:
            if guard:
                kept = {name: value for name, value in kept.items() if name.upper() != "NO_PROXY"} | guard.variables
            done = self._ran(command, cwd, kept, words, held)
            message = words.text()
        if done.returncode == 0:
            return done.stdout
        if guard and guard.refused:
            raise guard.refused[0]
        message = redacted(message or done.stdout.strip())[-4000:]
        if any(sign in message for sign in UNREACHABLE):
            raise IndexUnreachable(
                f"{what}: packages could not be fetched and are not in the cache {self.cache}; uv says:\n{message}"
            )
        raise EnvBuildFailed(f"{what} failed (uv exit status {done.returncode}); uv says:\n{message}")

    def _guarded(self) -> AbstractContextManager[Guard | None]:
        return guarding(self._judge) if self._judge else nullcontext()

    def _ran(
        self, command: Sequence[str], cwd: Path, environ: dict[str, str], words: Words, held: Sequence[int]
    ) -> subprocess.CompletedProcess[str]:
        pipe = subprocess.PIPE
        try:
            return subprocess.run(
                command,
                cwd=cwd,
                env=environ,
                stdout=pipe,
                stderr=words.file,
                text=True,
                check=False,
                pass_fds=held,
                umask=0o022,  # code runs in envs as another user
            )
        except OSError as error:
            if error.errno not in ABSENT or error.filename == str(cwd):
                raise
            raise UvMissing(f"cannot run uv at {self.program}: {error.strerror}; {FIX}") from error


def own_lock(cache: Path) -> None:
    """Close the lock of a cache of ours to other users: uv makes it for everybody, and who locks it stops every uv."""
    with suppress(FileExistsError):
        cache.mkdir(mode=0o700, parents=True)
    if cache.stat().st_uid == os.geteuid():
        os.close(open_lock(cache / ".lock"))


def uv_of(project: Path) -> Path | None:
    """The uv that the Makefile fetched, or the one on PATH; None without either."""
    own = project / ".tools" / "bin" / "uv"
    if own.is_file():
        return own
    found = shutil.which("uv")
    return Path(found) if found else None


def find_uv(project: Path) -> Path:
    """As ``uv_of``. Raises UvMissing."""
    own = project / ".tools" / "bin" / "uv"
    found = uv_of(project)
    if found is None:
        raise UvMissing(f"no uv at {own} and none on PATH; {FIX}")
    return found
