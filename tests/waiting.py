"""Waiting for what another process does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import pytest

Said = TypeVar("Said")
PATIENCE_S = 120.0
"""Long enough for a machine that several sessions of tests share: what goes well does not wait for it."""


def wait_for(what: Callable[[], Said], seconds: float = PATIENCE_S) -> Said:
    """What ``what`` says once it says something; fails when it never does."""
    end = time.monotonic() + seconds
    while not (said := what()):
        if time.monotonic() > end:
            pytest.fail(f"what was waited for did not come within {seconds:g} s")
        time.sleep(0.02)
    return said
