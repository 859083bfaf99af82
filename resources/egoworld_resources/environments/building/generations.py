"""The generations of one env: folders beside each other, one of them current. A folder without ready.json is not whole.

<root>/<env>/<generation>/   the venv, ready.json written last
<root>/<env>/current         symlink to the live generation, swapped atomically
<root>/<env>.lock            one builder per env
<root>/.making/              where a generation is made before it is renamed (slots.py)
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

READY = "ready.json"
CURRENT = "current"
SUPERSEDED = "superseded"
BUILD_LOCK = "egoworld-build.lock"
"""In a cache: who fetches and unpacks holds it alone, who installs what is there holds it together with others."""


@dataclass(frozen=True)
class Ready:
    """What a complete generation records about itself.

    contract: where egoworld_runner is, "" without it; stamp: see records.stamp; operation: the one that made it.
    """

    env: str
    lock_digest: str
    contract: str
    python: str
    stamp: str
    files: int
    seconds: float
    bytes: int = 0
    operation: str = ""

    def write(self, generation: Path) -> None:
        fresh = generation / f".{READY}"
        with fresh.open("w", encoding="utf-8") as file:
            json.dump(asdict(self), file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(generation / READY)

    @classmethod
    def read(cls, generation: Path) -> Ready | None:
        """None when the generation is not whole. Raises PermissionError when nobody lets us see whether it is."""
        try:
            return cls(**json.loads((generation / READY).read_text(encoding="utf-8")))
        except PermissionError:
            raise
        except (OSError, ValueError, TypeError):
            return None


def site_packages(generation: Path) -> Path:
    """Where the packages of a generation are, or would be if it is incomplete."""
    return next((generation / "lib").glob("python3.*"), generation / "lib" / "python3") / "site-packages"


class Generations:
    """The generations of one env under ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def current(self) -> Path | None:
        """The live generation, whole or not; None when nothing was built yet."""
        link = self.folder / CURRENT
        return self.folder / link.readlink().name if link.is_symlink() else None

    def fresh(self, lock_digest: str) -> Path:
        """An unused path for a new generation."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / f"{lock_digest[:12]}-{secrets.token_hex(4)}"

    def swap(self, generation: Path) -> None:
        """Make ``generation`` the live one."""
        before = self.current()
        link = self.folder / f".{CURRENT}-{generation.name}"
        link.symlink_to(generation.name)
        link.replace(self.folder / CURRENT)
        if before is not None and before.is_dir():
            with suppress(OSError):  # the mark only keeps it a while longer; the swap is done
                (before / SUPERSEDED).touch()

    def collect(self, grace_s: float) -> list[str]:
        """Remove what was never finished and, after ``grace_s``, what no process runs from; returns the names."""
        live = self.current()
        removed: list[str] = []
        for entry in sorted(self.folder.iterdir()):
            if entry.is_symlink():
                if entry.name != CURRENT:
                    entry.unlink()
            elif entry != live and (Ready.read(entry) is None or self._unused(entry, grace_s)):
                (entry / READY).unlink(missing_ok=True)
                shutil.rmtree(entry)
                removed.append(entry.name)
        return removed

    def _unused(self, generation: Path, grace_s: float) -> bool:
        mark = generation / SUPERSEDED
        if mark.exists() and time.time() - mark.stat().st_mtime < grace_s:
            return False
        return not process_inside(generation)


def process_inside(folder: Path) -> bool:
    """Whether a process runs a program, or works on a file, that its command names inside of ``folder``."""
    import psutil  # only here: who looks at envs does not wait for it

    inside = f"{folder}{os.sep}"
    return any(
        argument.startswith(inside)
        for process in psutil.process_iter(["cmdline"])
        for argument in process.info["cmdline"] or ()
    )
