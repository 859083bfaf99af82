"""A proxy on loopback for one run of uv: each address is checked first, and the checked one is connected to.

uv follows redirects and reads metadata from where the pages of an index lead, before there is a lock; it has no option
against that. A forbidden address gets no connection, whatever leads to it. Where the site has a proxy, requests are
forwarded to it.
"""

from __future__ import annotations

import base64
import secrets
import selectors
import socket
import socketserver
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import unquote, urlsplit

from egoworld_resources.environments.policy.addresses import Origin
from egoworld_resources.errors import BadConfiguration, EgoworldError

Judge = Callable[[Origin], tuple[str, ...]]
"""The allowed addresses of an origin, empty if its name does not resolve; raises EgoworldError if it is forbidden."""

USER = "uv"
CONNECT_S, IDLE_S = 30.0, 600.0
BLOCK, LARGEST_HEAD = 1 << 18, 1 << 16
LOGIN = "proxy-authorization"
DROPPED = ("connection:", "keep-alive:", "proxy-")
"""Headers that are for this proxy, not for the server."""


@dataclass
class Guard:
    """url: of the proxy, with a password of this run; refused: why addresses were refused."""

    judge: Judge
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    port: int = 0
    refused: list[EgoworldError] = field(default_factory=list[EgoworldError])

    @property
    def url(self) -> str:
        return f"http://{USER}:{self.token}@127.0.0.1:{self.port}"

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables that make a program use this proxy alone."""
        names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
        return {spelled: self.url for name in names for spelled in (name, name.lower())}

    def admits(self, headers: list[str]) -> bool:
        """Whether a request comes from the program we started."""
        own = f"Basic {base64.b64encode(f'{USER}:{self.token}'.encode()).decode()}"
        logins = [value.strip() for name, _, value in (one.partition(":") for one in headers) if name.lower() == LOGIN]
        return any(secrets.compare_digest(one.encode(), own.encode()) for one in logins)


@contextmanager
def guarding(judge: Judge) -> Iterator[Guard]:
    """The proxy while the context lasts. Raises BadConfiguration for a site proxy of an unsupported kind."""
    for scheme in ("http", "https"):
        _site_proxy(scheme, "")
    guard = Guard(judge)
    requests = cast("type[_Asked]", type("Asked", (_Asked,), {"guard": guard}))
    with _Server(("127.0.0.1", 0), requests) as server:
        guard.port = int(server.server_address[1])
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield guard
        finally:
            server.shutdown()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128


class _Asked(socketserver.StreamRequestHandler):
    """One connection of uv."""

    guard: Guard

    def handle(self) -> None:
        """Judge where it leads, connect, and pass on what both sides say."""
        with suppress(OSError, ValueError):
            request, headers = self._head()
            if not self.guard.admits(headers):
                return self._answer("407 Proxy Authentication Required")
            method, target, version = request.split()
            origin = _tunnel_to(target) if method == "CONNECT" else Origin.of(target)
            try:
                addresses = self.guard.judge(origin)
            except EgoworldError as error:
                self.guard.refused.append(error)
                return self._answer("403 Forbidden")
            self._pass_on(origin, addresses, (method, target, version), headers)
        return None

    def _pass_on(
        self, origin: Origin, addresses: tuple[str, ...], request: tuple[str, str, str], headers: list[str]
    ) -> None:
        method, target, version = request
        kept = [one for one in headers if not one.lower().startswith(DROPPED)]
        site = _site_proxy(origin.scheme, origin.host)
        try:
            if site:
                there = socket.create_connection((site.host, site.port), CONNECT_S)
                kept += [f"Proxy-Authorization: Basic {site.login}"] if site.login else []
            else:
                there = _connected(addresses, origin.port)
        except OSError:
            return self._answer("502 Bad Gateway")
        with there:
            if method == "CONNECT" and not site:
                self._answer("200 Connection established")
            else:
                parts = urlsplit(target)
                path = parts._replace(scheme="", netloc="").geturl() or "/"
                lines = [f"{method} {target if site else path} {version}", *kept]
                lines += [] if method == "CONNECT" else ["Connection: close"]
                there.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
            _relay(self.connection, there)
        return None

    def _head(self) -> tuple[str, list[str]]:
        lines: list[str] = []
        size = 0
        while (line := self.rfile.readline(LARGEST_HEAD)).strip():
            size += len(line)
            if size > LARGEST_HEAD:
                raise ValueError("the head of a request has no end")
            lines.append(line.decode("latin-1").strip())
        if not lines:
            raise ValueError("the request is empty")
        return lines[0], lines[1:]

    def _answer(self, status: str) -> None:
        ends = "" if status.startswith("200") else "Connection: close\r\nContent-Length: 0\r\n"
        self.wfile.write(f"HTTP/1.1 {status}\r\n{ends}\r\n".encode())


@dataclass(frozen=True)
class _Site:
    host: str
    port: int
    login: str


def _site_proxy(scheme: str, host: str) -> _Site | None:
    """The proxy by which this machine asks a host. Raises BadConfiguration for one that is not of http."""
    proxies = urllib.request.getproxies()
    proxy = proxies.get(scheme) or proxies.get("all")
    if not proxy or (host and urllib.request.proxy_bypass(host)):
        return None
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if parts.scheme != "http" or not parts.hostname:
        raise BadConfiguration(
            f"the proxy of {scheme} (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY) is of {parts.scheme}; packages are fetched "
            "through one of http:// alone"
        )
    user = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else ""
    return _Site(parts.hostname, parts.port or 80, base64.b64encode(user.encode()).decode())


def _tunnel_to(target: str) -> Origin:
    return Origin.of(f"https://{target}")


def _connected(addresses: tuple[str, ...], port: int) -> socket.socket:
    failed = OSError("the name has no address")
    for address in addresses:
        try:
            return socket.create_connection((address, port), CONNECT_S)
        except OSError as error:
            failed = error
    raise failed


def _relay(here: socket.socket, there: socket.socket) -> None:
    """Pass data both ways until one side ends."""
    there.settimeout(IDLE_S)
    here.settimeout(IDLE_S)
    with selectors.DefaultSelector() as waiting:
        waiting.register(here, selectors.EVENT_READ, there)
        waiting.register(there, selectors.EVENT_READ, here)
        while ready := waiting.select(IDLE_S):
            for key, _ in ready:
                data = cast("socket.socket", key.fileobj).recv(BLOCK)
                if not data:
                    return
                key.data.sendall(data)
