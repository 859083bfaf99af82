"""What the proxy asks before it passes a request of the UI on: is it another site's, and who has logged in.

Served over a Unix socket that nobody but us can open. Neither passwords nor addresses with signatures are logged.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import os
import socket
import sys
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

from egoworld_resources.server.cross_site import Asked, refusal
from egoworld_resources.server.environment import ServerSettings
from egoworld_resources.server.launch import Launch
from egoworld_resources.server.logins import Logins, Verdict, hashed
from egoworld_resources.server.probes import SECONDS, Unhealthy

log = logging.getLogger(__name__)

LOGIN = "X-Egoworld-Login"
"""The header of a good answer: who asks."""
SAID = ("method", "uri", "upgrade", "address", "port")
"""What the proxy says of the request that it holds, as X-Door-*; it replaces what a client sends under these names."""
ASKS = 'Basic realm="egoworld", charset="UTF-8"'
REFUSALS_LOGGED = 60
"""Lines in a minute, so that a flood fills no disk."""

Sent = Callable[[dict[str, Any]], Awaitable[None]]


def door(path: Path, settings: ServerSettings) -> Launch:
    """The door behind the socket ``path``, in a folder of its own."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    env = {
        "DOOR_ORIGINS": " ".join(origins(settings)),
        "DOOR_VIEWER_HASH": hashed(settings.viewer_password.get_secret_value()),
        "DOOR_OPERATOR_HASH": hashed(settings.operator_password.get_secret_value()),
    }
    return Launch((sys.executable, "-m", "egoworld_resources.server.door", str(path)), env)


def origins(settings: ServerSettings) -> list[str]:
    """The addresses of our own pages, as browsers write them."""
    port = "" if settings.proxy_port == 443 else f":{settings.proxy_port}"
    return [f"https://{name.lower()}{port}" for name in dict.fromkeys(("localhost", settings.proxy_name))]


class Door:
    """An ASGI application: 200 with the login, 401, 403 or 429."""

    def __init__(self, logins: Logins, own: Iterable[str]) -> None:
        self._logins = logins
        self._own = tuple(own)
        self._lines, self._minute = 0, 0

    async def __call__(self, scope: dict[str, Any], _receive: object, send: Sent) -> None:
        headers: defaultdict[str, tuple[str, ...]] = defaultdict(tuple)
        for name, value in scope["headers"]:
            headers[name.decode("latin-1").lower()] += (value.decode("latin-1"),)
        method, uri, upgrade, address, port = (headers.pop(f"x-door-{name}", ("",))[0] for name in SAID)
        headers["upgrade"] = (upgrade,) if upgrade else ()
        why = refusal(Asked(method, uri, headers), self._own)
        if why:
            self._note("refused", address, method, why)
            await answered(send, 403, [], f"refused: {why}\n")
            return
        verdict = await self._logins.verdict(next(iter(headers["authorization"]), ""), address, port)
        if verdict.status != 200 and headers["authorization"]:
            self._note("login", address, method, f"answered {verdict.status}")
        await answered(send, verdict.status, *answer_of(verdict))

    def _note(self, what: str, address: str, method: str, why: str) -> None:
        minute = int(asyncio.get_running_loop().time() // 60)
        self._lines = self._lines + 1 if minute == self._minute else 1
        self._minute = minute
        if self._lines <= REFUSALS_LOGGED:
            log.warning(json.dumps({"door": what, "address": address, "method": method, "why": why}))


def answer_of(verdict: Verdict) -> tuple[list[tuple[str, str]], str]:
    """Headers and words of a verdict."""
    if verdict.status == 200:
        return [(LOGIN, verdict.login)], ""
    if verdict.status == 429:
        return [("Retry-After", str(verdict.wait_s))], f"too many wrong logins; try again in {verdict.wait_s} s\n"
    return [("WWW-Authenticate", ASKS)], "log in as viewer or operator\n"


async def answered(send: Sent, status: int, headers: list[tuple[str, str]], text: str) -> None:
    """Send a whole answer."""
    own = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(text.encode()))), *headers]
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in own]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": text.encode()})


def answers(path: Path) -> str:
    """That it lets no stranger in; raises Unhealthy."""
    connection = http.client.HTTPConnection("localhost", timeout=SECONDS)
    try:
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(SECONDS)
        connection.sock.connect(str(path))
        connection.request("GET", "/", headers={"X-Door-Method": "GET", "X-Door-Uri": "/"})
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        raise Unhealthy(f"the door at {path} does not answer: {error}") from error
    finally:
        connection.close()
    if status != 401:
        raise Unhealthy(f"the door at {path} answers {status} to a stranger, not 401")
    return "a stranger is not let in"


def main(path: str) -> None:
    """Serve until a signal."""
    import uvicorn

    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stdout)
    hashes = {name: os.environ.pop(f"DOOR_{name.upper()}_HASH") for name in ("viewer", "operator")}
    app: Any = Door(Logins(hashes), os.environ["DOOR_ORIGINS"].split())
    os.umask(0o077)
    Path(path).unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        config = uvicorn.Config(app, ws="none", lifespan="off", access_log=False, log_config=None, server_header=False)
        uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main(sys.argv[1])
