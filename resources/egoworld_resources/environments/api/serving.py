"""`egoworld env serve`: the API on this machine's loopback until it is told to end."""

from __future__ import annotations

import ipaddress
import signal
import socket
from collections.abc import Callable

import uvicorn

from egoworld_resources.environments.api.app import make_app
from egoworld_resources.environments.api.tokens import Tokens
from egoworld_resources.environments.fabric.envs import Fabric
from egoworld_resources.environments.fabric.opening import open_fabric
from egoworld_resources.environments.fabric.sandbox import capabilities
from egoworld_resources.errors import BadConfiguration
from egoworld_resources.settings import Settings

GRACE_S = 60
"""How long operations that are on their way may still take when the service is told to end."""
IDLE_S = 75
"""How long a connection may rest: longer than clients keep theirs, so that it is they who close it."""
BACKLOG = 2048


def serve(settings: Settings, host: str, port: int, elsewhere: bool, say: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; then what is on its way is done, and nothing new is taken.

    ``elsewhere``: another host than loopback is meant. ``say`` is told what people want to know at the start. Raises
    BadConfiguration (host, port, partitions, file of tokens) and AuditFailed before anything is served.
    """
    if not elsewhere and not _loopback(host):
        raise BadConfiguration(
            f"--host {host} is open to other machines, and tokens would pass there unencrypted: put a proxy with TLS "
            "before 127.0.0.1 instead, or say --allow-remote when such a proxy stands before that address"
        )
    tokens = Tokens.of(settings)
    known = tokens.all()
    listening = _listening(host, port)
    fabric = open_fabric(settings)
    try:
        for line in capabilities().sentences():
            say(line)
        say(f"envs in {fabric.config.envs_base_path}, audit in {fabric.operations.database}")
        if not known:
            say("nobody has a token yet: `egoworld env token create NAME` makes one, no restart needed")
        shown = f"[{host}]" if ":" in host else host
        say(f"serving http://{shown}:{listening.getsockname()[1]}")
        _run(fabric, tokens, listening)
    finally:
        fabric.operations.close()


def _run(fabric: Fabric, tokens: Tokens, listening: socket.socket) -> None:
    """Serve on a socket; both signals end in a return, once."""
    config = uvicorn.Config(
        make_app(fabric, tokens),
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,  # anyone on this machine could claim another address by them
        lifespan="on",
        timeout_graceful_shutdown=GRACE_S,
        timeout_keep_alive=IDLE_S,
    )
    for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises the signal anew after its end
        signal.signal(number, lambda _number, _frame: None)
    uvicorn.Server(config).run(sockets=[listening])


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens, before anything else is begun."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise BadConfiguration(f"cannot listen on {host} port {port}: {error}; choose another --port") from error
