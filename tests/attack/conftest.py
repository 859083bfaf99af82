"""What the attacks share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from egoworld_resources.server.running import Server
from tests.made_server import server_up
from tests.servers import temporary_home

OFTEN = {"EGOWORLD_SENSORS_EVERY_S": "2", "INBOX_KEEPER_EVERY_S": "2"}
"""How often the server looks at what it waits for."""


@pytest.fixture(scope="package")
def attacked_server() -> Iterator[Server]:
    """A whole server, as `make up` starts it, that attacks share: a test that changes its settings puts them back."""
    with temporary_home() as home, server_up(home, **OFTEN) as server:
        yield server
