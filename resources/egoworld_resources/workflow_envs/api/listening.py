"""Where the API is asked: a port of loopback, or a Unix socket that nobody else on this machine may use."""

from __future__ import annotations

import ipaddress
import os
import socket
import stat
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from egoworld_resources.environments.building.generations import exclusive
from egoworld_resources.errors import BadConfiguration, LockBusy

BACKLOG = 2048
LONGEST_PATH = 107
"""Bytes of a Unix socket's path that the kernel takes."""
TRY_S = 2.0


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
            "before 127.0.0.1 instead, or say --allow-remote when such a proxy stands before that address"
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
    """A Unix socket of mode 0600, gone afterwards. Its folder is made with mode 0700 when it is not there.

    A socket that a killed service left is replaced, one that somebody listens on is not. Raises BadConfiguration.
    """
    path = path.absolute()
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise BadConfiguration(f"--socket {path} is longer than {LONGEST_PATH} bytes, which no Unix socket may be")
    _own_folder(path.parent)
    try:
        with exclusive(path.with_name(f".{path.name}.lock"), 0), socket.socket(socket.AF_UNIX) as taken:
            _bind(taken, path)
            try:
                taken.listen(BACKLOG)
                yield Listening(taken, f"http+unix://{path}")
            finally:
                path.unlink(missing_ok=True)
    except LockBusy as error:
        raise BadConfiguration(f"another service listens on {path}; end it, or choose another --socket") from error


def _own_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
    except OSError as error:
        raise BadConfiguration(f"the folder of the socket, {folder}, cannot be made: {error.strerror}") from error
    if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o022:
        raise BadConfiguration(
            f"others may put files into {folder}, so a socket there could be anybody's; run: chmod 700 {folder}, "
            "or choose a folder of your own"
        )


def _bind(taken: socket.socket, path: Path) -> None:
    """Raises BadConfiguration when something else has that name."""
    before = os.umask(0o177)
    try:
        if path.is_socket() and not _answers(path):
            path.unlink()
        taken.bind(str(path))
    except OSError as error:
        raise BadConfiguration(f"cannot listen on {path}: {error}; choose another --socket") from error
    finally:
        os.umask(before)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(TRY_S)
        try:
            asking.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True  # somebody holds it, too busy to answer
    return True


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
