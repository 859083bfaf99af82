"""The reverse proxy (Caddy): TLS, and the logins viewer and operator. The only part that others may reach."""

from __future__ import annotations

import base64
import http.client
import socket
import ssl
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from egoworld_resources.server.environment import ServerSettings
from egoworld_resources.server.launch import LOOPBACK, Launch
from egoworld_resources.server.probes import SECONDS, Unhealthy
from egoworld_resources.server.tools import Tools
from egoworld_resources.settings import PROJECT

CADDYFILE = PROJECT / "infra" / "Caddyfile"
ROOT_CERTIFICATE = Path("pki/authorities/local/root.crt")


def proxy(tools: Tools, folder: Path, settings: ServerSettings, door: Path) -> Launch:
    """Caddy with its certificates and state under ``folder``; door: the socket of what it asks who may pass."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    caddy = tools.caddy()
    names = dict.fromkeys(("localhost", settings.proxy_name))
    env = {
        "PROXY_ADDRESS": settings.proxy_address,
        "PROXY_TLS": settings.proxy_tls,
        "PROXY_FOLDER": str(folder),
        "PROXY_UI_SITES": ", ".join(f"https://{name}:{settings.proxy_port}" for name in names),
        "PROXY_S3_SITES": ", ".join(f"https://{name}:{settings.proxy_s3_port}" for name in names),
        "PROXY_OTHER_SITES": f"https://:{settings.proxy_port}, https://:{settings.proxy_s3_port}",
        "DOOR_SOCKET": str(door),
        "OPERATOR_UPSTREAM": f"unix/{settings.places.of('webserver')}",
        "VIEWER_UPSTREAM": f"unix/{settings.places.of('webserver-viewer')}",
        "FILES_UPSTREAM": f"unix/{settings.places.of('files')}",
        "ENVS_UPSTREAM": f"unix/{settings.places.of('envs')}",
        "METRICS_UPSTREAM": f"unix/{settings.places.of('metrics')}",
        "S3_UPSTREAM": urlsplit(settings.s3_endpoint)._replace(path="", query="").geturl(),
        "XDG_CONFIG_HOME": str(folder),
        "XDG_DATA_HOME": str(folder),
    }
    return Launch((str(caddy), "run", "--adapter", "caddyfile", "--config", str(CADDYFILE)), env)


@dataclass(frozen=True)
class Answer:
    """What the proxy answered; location: where it sends the asker on to."""

    status: int
    body: bytes
    location: str = ""


def answers(settings: ServerSettings, folder: Path) -> str:
    """Both logins are let in by a certificate that holds, nobody else is; raises Unhealthy."""
    stranger = ask(settings, folder, None).status
    viewer = ask(settings, folder, ("viewer", settings.viewer_password.get_secret_value())).status
    operator = ask(settings, folder, ("operator", settings.operator_password.get_secret_value())).status
    if (stranger, viewer, operator) != (401, 200, 200):
        said = f"{stranger} without a login (not 401), {viewer} to the viewer and {operator} to the operator (not 200)"
        raise Unhealthy(f"the proxy answers {said}")
    return "TLS holds, both logins are let in, a stranger is not"


def ask(
    settings: ServerSettings,
    folder: Path,
    login: tuple[str, str] | None,
    path: str = "/server_info",
    body: bytes | None = None,
    port: int | None = None,
) -> Answer:
    """GET, or POST a JSON body, through the proxy, its certificate checked; raises Unhealthy without an answer."""
    own = folder / ROOT_CERTIFICATE if settings.proxy_tls == "internal" else None
    name = "localhost" if own else settings.proxy_name
    address = LOOPBACK if settings.proxy_address in ("0.0.0.0", "::") else settings.proxy_address
    headers = {"Content-Type": "application/json"} if body else {}
    if login:
        headers["Authorization"] = "Basic " + base64.b64encode(":".join(login).encode()).decode()
    port = port or settings.proxy_port
    try:
        context = ssl.create_default_context(cafile=own)
        connection = http.client.HTTPSConnection(name, port, timeout=SECONDS, context=context)
        with socket.create_connection((address, port), SECONDS) as plain, closing(connection):
            connection.sock = context.wrap_socket(plain, server_hostname=name)
            connection.request("POST" if body else "GET", path, body=body, headers=headers)
            answer = connection.getresponse()
            return Answer(answer.status, answer.read(), answer.getheader("Location", ""))
    except (OSError, http.client.HTTPException) as error:
        raise Unhealthy(f"proxy at {address}:{port}: {error}") from error
