"""``python -m egoworld_resources.server.webserver SOCKET …``: Dagster's webserver on a Unix socket.

Dagster's own command knows ports of TCP only, where every user of the machine may change everything without a login. It
runs here as it is, with all of its options; only the server that it starts its app with listens elsewhere.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn

from egoworld_resources.sockets import listening

NO_PORT = "1"
"""Named, so that Dagster looks for no free one; nothing listens there."""


def main() -> None:
    """Run dagster-webserver with the rest of the arguments."""
    from dagster_webserver.cli import main as dagster_webserver

    socket = Path(sys.argv.pop(1))
    uvicorn.run = partial(run_at, socket)
    sys.argv += ["--port", NO_PORT]
    dagster_webserver()


def run_at(socket: Path, app: Any, *, log_level: str, host: str = "", port: int = 0) -> None:  # noqa: ARG001
    """What uvicorn.run does, on a socket that only its owner reaches."""
    config = uvicorn.Config(app, log_level=log_level, proxy_headers=False)
    uvicorn.Server(config).run(sockets=[listening(socket)])


if __name__ == "__main__":
    main()
