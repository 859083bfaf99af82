"""How much the tests of random faults do: a sample of every kind in `make test`, the whole in `make torture`."""

from __future__ import annotations

import os

WHOLE = os.environ.get("TORTURE") == "1"


def sized(sample: int, whole: int) -> int:
    """The size of a test in this run."""
    return whole if WHOLE else sample
