"""With several workers (`make test`) the tests of a file stay together, and so do the files that share a server."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

SHARED = "attacked_server"
"""A fixture that takes long to set up and is asked for in several files."""


class Together(LoadFileScheduling):
    """Sends a file, or all files that share a server, to one worker."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", 1)[0]
        return SHARED if shares(self.config.rootpath / file) else file


@cache
def shares(file: Path) -> bool:
    """Whether tests of a file ask for the shared server."""
    return file.is_file() and SHARED in file.read_text(encoding="utf-8")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long begin first, so that none is left alone at the end."""
    long = {item.path for item in items if item.get_closest_marker("long")}
    items.sort(key=lambda item: item.path not in long)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Together:
    """The scheduler for `pytest -n N`."""
    return Together(config, log)
