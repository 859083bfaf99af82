"""A wire between a client and a real server that counts requests and can be cut at any of them."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

REQUEST = re.compile(rb"(?:GET|PUT|POST|HEAD|DELETE) /[^ ]* HTTP/1\.1\r\n")


class Wire:
    """Forwards connections to a port of this machine.

    at: before which request, counted from 1, ``cut`` is called; of that request half of what came reaches the server.
    lossless: all of it does, once ``cut`` has returned.
    """

    def __init__(
        self, port: int, at: int = 0, cut: Callable[[], None] = lambda: None, *, lossless: bool = False
    ) -> None:
        self.requests = 0
        self._port, self._at, self._cut, self._lossless = port, at, cut, lossless
        self._lock = threading.Lock()
        self._ends: list[socket.socket] = []
        self._open = True
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._server.accept()
                server = socket.create_connection(("127.0.0.1", self._port))
                with self._lock:
                    self._ends += (client, server)
                    if not self._open:  # cut while this one was being connected
                        break
                threading.Thread(target=self._forward, args=(client, server, True), daemon=True).start()
                threading.Thread(target=self._forward, args=(server, client, False), daemon=True).start()
            client.close()
            server.close()

    def _forward(self, source: socket.socket, target: socket.socket, counts: bool) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                cuts = counts and self._cuts(data)
                if cuts and not self._lossless:
                    target.sendall(data[: len(data) // 2])
                if cuts:
                    self._cut()
                    if not self._lossless:
                        break
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        source.close()

    def _cuts(self, data: bytes) -> bool:
        with self._lock:
            before = self.requests
            self.requests += len(REQUEST.findall(data))
            return before < self._at <= self.requests

    def close(self) -> None:
        """Cut every connection and take no more: from now on a client finds nobody."""
        with self._lock:
            self._open = False
            ends = (self._server, *self._ends)
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._server.close()


@contextmanager
def wire(port: int, at: int = 0, cut: Callable[[], None] = lambda: None, *, lossless: bool = False) -> Iterator[Wire]:
    """A wire while the context lasts."""
    made = Wire(port, at, cut, lossless=lossless)
    try:
        yield made
    finally:
        made.close()
