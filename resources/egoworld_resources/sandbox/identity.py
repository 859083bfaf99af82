"""Who a program is outside: a user that nobody else is."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable

NOBODY = 65534
FIRST_OWN, OWN = 1 << 30, 1 << 28
"""User ids from FIRST_OWN on are assigned to runs, one each: far above those of people, systemd and containers."""


def own_uid() -> int:
    """A user id for one run, where this user namespace has it; else that of nobody."""
    wanted = FIRST_OWN + secrets.randbelow(OWN)
    with open("/proc/self/uid_map", encoding="ascii") as file:
        ranges = [tuple(int(number) for number in line.split()) for line in file]
    return wanted if any(first <= wanted < first + count for first, _outside, count in ranges) else NOBODY


def open_to_all(paths: Iterable[str]) -> bool:
    """Whether every user may read these files and enter these folders."""
    for path in paths:
        mode = os.stat(path).st_mode
        if not mode & 0o004 or (os.path.isdir(path) and not mode & 0o001):
            return False
    return True
