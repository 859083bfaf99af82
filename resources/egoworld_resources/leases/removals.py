"""Backups and removals keep out of each other's way: a lock of one home, which the kernel frees when its holder dies.

A backup lists first what names things and copies what is named later: what goes in between would be missing in it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from egoworld_resources.errors import LockBusy
from egoworld_resources.leases.named import Leases

log = logging.getLogger(__name__)

FILE = "removals.lock"
ALL = "everything that is stored"


@contextmanager
def copying(home: Path) -> Iterator[None]:
    """Nothing is removed while this lasts; waits for a removal that is under way. Any number of backups may be made."""
    with _leases(home) as leases:
        if not leases.try_hold(ALL):
            log.info("waiting until a removal has ended (egoworld gc --apply, egoworld fsck --mend, a restore)")
            leases.hold(ALL)
        yield


@contextmanager
def removing(home: Path) -> Iterator[None]:
    """No backup is made while this lasts. Raises LockBusy at once when one is being made, or another removal runs."""
    with _leases(home) as leases:
        if not leases.try_alone(ALL):
            raise LockBusy(
                f"a backup of {home} is being made, or something else is being removed; a backup that ran beside a "
                "removal could miss what it names. Nothing was removed: run it again when that has ended"
            )
        yield


def _leases(home: Path) -> Leases:
    home.mkdir(parents=True, exist_ok=True)
    return Leases(home / FILE)
