"""How long envs have rested, by a clock that nobody can set.

The audit's times are of the wall clock, which jumps when it is set. They count once, for what was done before the first
look of all; from then on the clock of the machine's boot counts. While the machine is off, nothing rests.
"""

from __future__ import annotations

import json
import math
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Look:
    """One look at all envs. boot, at: which boot, and its clock; rests: folder -> last use (wall clock), seconds."""

    boot: str
    at: float
    rests: dict[str, tuple[float, float]] = field(default_factory=dict[str, tuple[float, float]])

    @classmethod
    def read(cls, file: Path) -> Look | None:
        """The last look; None when there was none, or when its file is damaged."""
        try:
            known = json.loads(file.read_text(encoding="utf-8"))
            rests = {str(folder): (float(used), float(rested)) for folder, (used, rested) in known["rests"].items()}
            return cls(str(known["boot"]), float(known["at"]), rests)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None

    def write(self, file: Path) -> None:
        """Put it in the place of the one before, whole."""
        fresh = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
        fresh.write_text(json.dumps(asdict(self)), encoding="utf-8")
        fresh.replace(file)

    @classmethod
    def now(cls, used: Mapping[str, float], before: Look | None) -> Look:
        """A look at envs that were last ``used`` then (wall clock); the caller alone looks."""
        boot, at, wall = BOOT.read_text(encoding="ascii").strip(), time.clock_gettime(time.CLOCK_BOOTTIME), time.time()
        same = before is not None and before.boot == boot
        passed = max(0.0, at - before.at) if before is not None and same else 0.0
        longest = passed if same else math.inf  # what was used since the last look rests no longer than since then
        known = before.rests if before is not None else {}
        rests: dict[str, tuple[float, float]] = {}
        for folder, then in used.items():
            last, rested = known.get(folder, (None, 0.0))
            fresh = min(max(0.0, wall - then), longest)
            rests[folder] = (then, rested + passed if last == then else fresh)
        return cls(boot, at, rests)

    def rested(self, folder: str) -> float:
        """Seconds that an env has rested."""
        return self.rests[folder][1]
