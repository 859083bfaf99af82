"""Where the API listens: a port of loopback, or a Unix socket that nobody else on this machine may use."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from egoworld_resources.errors import BadConfiguration, LockBusy
from egoworld_resources.leases.locks import locked
from egoworld_resources.sockets import BACKLOG, listening, private_folder


@dataclass(frozen=True)
class Listening:
    """A socket that listens before anything else is begun, and its address for people."""

    socket: socket.socket
    shown: str


@contextmanager
def on_port(host: str, port: int, *, elsewhere: bool) -> Generator[Listening]:
    """A port; 0 takes a free one. ``elsewhere``: another host than loopback is meant. Raises BadConfiguration."""
    if not elsewhere and not _loopback(host):
        raise BadConfiguration(
            f"--host {host} is open to other machines, and tokens would pass there unencrypted: put a proxy with TLS "
            "before 127.0.0.1 instead, or say --allow-remote when such a proxy is in front of that address"
        )
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        taken = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise BadConfiguration(f"cannot listen on {host} port {port}: {error}; choose another --port") from error
    with taken:
        shown = f"[{host}]" if ":" in host else host
        yield Listening(taken, f"http://{shown}:{taken.getsockname()[1]}")


@contextmanager
def on_socket(path: Path) -> Generator[Listening]:
    """A Unix socket as ``sockets.listening`` makes it, gone afterwards. Raises BadConfiguration."""
    path = path.absolute()
    private_folder(path.parent, found_as=0o755)
    try:
        with locked(path.with_name(f".{path.name}.lock"), 0), listening(path) as taken:
            try:
                yield Listening(taken, f"http+unix://{path}")
            finally:
                path.unlink(missing_ok=True)
    except LockBusy as error:
        raise BadConfiguration(f"another service listens on {path}; end it, or choose another --socket") from error


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
