"""What attacks on the environment service share: its place, a door that stays shut, and what must not come out."""

from __future__ import annotations

import base64
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import httpx

from made_api import Served
from made_git import made_repository
from made_index import MadeIndex, Quiet
from servers import answering

PASSWORD = 'tr0ub4dor&3/kept+secret"%'
COMMIT = "0123456789abcdef0123456789abcdef01234567"
OF_THE_FILE = "of-the-env-file-42"
OF_NETRC = "netrc-password-43"
ENV_FILE = f"OPERATOR_PASSWORD={OF_THE_FILE}\nPOSTGRES_USER=egoworld\n"


SPY = """
import os, socket, pathlib
for name in {wanted}:
    try:
        said[name] = pathlib.Path(name).read_text()
    except OSError as error:
        said[name] = type(error).__name__
said["environ"] = dict(os.environ)
try:
    socket.create_connection(("127.0.0.1", {port}), 2).close()
    said["network"] = "open"
except OSError as error:
    said["network"] = type(error).__name__
try:
    pathlib.Path({marker!r}).write_text("was here")
except OSError:
    pass
said["uid"] = os.getuid()
"""
"""What a setup.py tries; it leaves in ``said`` what came of it."""


class Recorded(Quiet):
    """Files of a folder; notes who logs in."""

    logins: ClassVar[list[str]] = []

    def do_GET(self) -> None:  # noqa: N802  # the name that http.server calls
        """Note a login, then answer."""
        self.logins.extend(filter(None, [self.headers.get("Authorization")]))
        super().do_GET()


class Elsewhere(BaseHTTPRequestHandler):
    """Sends everybody on to another address."""

    target = ""

    def do_GET(self) -> None:  # the name that http.server calls
        """Redirect."""
        self.send_response(302)
        self.send_header("Location", self.target + self.path)
        self.end_headers()

    do_HEAD = do_GET  # noqa: N815  # uv asks so for the size of a wheel

    def log_message(self, *_: object) -> None:
        return


@dataclass(frozen=True)
class Door:
    """A port of this machine that nobody may be sent to. opened: how often somebody came."""

    port: int
    opened: list[str] = field(default_factory=list[str])


@dataclass(frozen=True)
class Place:
    """The service under attack: its home, its API, the index that it may ask, git's files, and a door to stay shut."""

    home: Path
    api: Served
    index: MadeIndex
    git: Path
    address: str
    elsewhere: str
    door: Door

    def told(self) -> str:
        """All that the service has said so far: to readers, in its audit and in its logs."""
        with self.api.client(self.api.reader) as reader:
            operations = reader.get("/operations?limit=500")
            answers = [operations.text, reader.get("/envs").text, reader.get("/health").text]
            ids = [one["id"] for one in operations.json()["operations"]]
            answers += [reader.get(f"/operations/{one}/log").text for one in ids[:40]]
        files = [self.home / "serve.err", *(self.home / "workflow_envs" / ".logs").glob("*")]
        files += sorted(self.home.glob("env_operations.sqlite*"))
        return "\n".join([*answers, *(file.read_bytes().decode("utf-8", "replace") for file in files)])

    def page(self, name: str, address: str, more: str = "") -> None:
        """What the index says of a package: one file at an address."""
        page = self.index.folder / "simple" / name / "index.html"
        page.parent.mkdir(parents=True)
        file = address.partition("#")[0].rpartition("/")[2]
        page.write_text(f'<!DOCTYPE html><html><body><a href="{address}" {more}>{file}</a></body></html>')

    def repository(self, name: str, files: dict[str, str], links: dict[str, str] | None = None) -> str:
        """The requirement of a new repository."""
        commit = made_repository(self.git / name, files, links)
        return f"gitted @ git+{self.address}/{name}/.git@{commit}"


@contextmanager
def shut_door() -> Iterator[Door]:
    """A listener on loopback that notes every connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        door = Door(listening.getsockname()[1])

        def wait() -> None:
            while True:
                try:
                    came, _ = listening.accept()
                except OSError:
                    return
                came.settimeout(1)
                try:
                    door.opened.append(came.recv(1000).decode(errors="replace"))
                except OSError:
                    door.opened.append("")
                came.close()

        threading.Thread(target=wait, daemon=True).start()
        yield door


@contextmanager
def redirecting() -> Iterator[tuple[str, Door]]:
    """A server that sends everybody on to the door, and the door."""
    with shut_door() as door:
        target = type("Target", (Elsewhere,), {"target": f"http://127.0.0.1:{door.port}"})
        with answering(target) as address:
            yield address, door


def site_rules(*listed: str) -> str:
    """What a site allows: these addresses, builds by the made-up backend, and one constraint with its reason."""
    return (
        f"private_sources = {json.dumps(listed)}\nconstraints = ['torch>=2.6']\n"
        "[reasons]\ntorch = 'before, torch.load runs code of a file'\n"
        "[builds]\ngit = 'sandbox'\nbackends = ['madebackend']\n"
    )


def made(writer: httpx.Client, node: str, *packages: str, **more: Any) -> httpx.Response:
    return writer.post("/envs", json={"workflow_id": "attack", "node_id": node, "packages": packages, **more})


def refused(answer: httpx.Response, *codes: str) -> str:
    """What an answer says that refuses by one of these codes."""
    assert answer.status_code in (400, 403, 422), answer.text
    assert answer.json()["error"]["code"] in codes, answer.text
    return answer.json()["error"]["message"]


def encodings(secret: str) -> list[str]:
    """What a secret looks like where it comes out."""
    login = base64.b64encode(f"egoworld:{secret}".encode()).decode()
    return [secret, quote(secret, safe=""), quote(secret), json.dumps(secret)[1:-1], secret.encode().hex(), login]
