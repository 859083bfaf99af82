"""What the attacks share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from egoworld_resources.server.running import Server
from tests.made_server import server_up
from tests.servers import temporary_home


@pytest.fixture(scope="session")
def attacked_server() -> Iterator[Server]:
    """A whole server, as `make up` starts it, that all attacks share: whoever changes its settings puts them back."""
    with temporary_home() as home, server_up(home) as server:
        yield server
