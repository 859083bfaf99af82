"""Waiting for what another process does."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest


def wait_for(what: Callable[[], bool]) -> None:
    """Until ``what`` is so; fails when it never is."""
    for _ in range(3000):
        if what():
            return
        time.sleep(0.02)
    pytest.fail("what was waited for never came")
