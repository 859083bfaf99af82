"""Guesses of a password, requests that are not what they seem, and what of all that is written into logs."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import ssl
import stat
import time
from collections import Counter
from contextlib import closing

import psutil
import pytest
from botocore.awsrequest import AWSRequest
from botocore.httpsession import URLLib3Session
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from egoworld_resources.s3.buckets import client
from egoworld_resources.server.proxy import ROOT_CERTIFICATE
from egoworld_resources.server.running import Server
from tests.attack.test_browser import SET, pools

JSON = {"Content-Type": "application/json"}
GUESSES = 40


class Answer:
    """What the proxy answered."""

    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self.status, self.headers, self.text = answer.status, answer.headers, answer.read().decode(errors="replace")


def login(server: Server, name: str = "operator", password: str | None = None) -> dict[str, str]:
    """The header of a login; the right password when none is given."""
    settings = server.parts.server
    right = {"operator": settings.operator_password, "viewer": settings.viewer_password}
    text = f"{name}:{right[name].get_secret_value() if password is None else password}"
    return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}


def authority(server: Server) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(server.folder / "proxy" / ROOT_CERTIFICATE))


def connection(server: Server, source: str) -> http.client.HTTPSConnection:
    """To the UI's address, from an address of ours."""
    port = server.parts.server.proxy_port
    opened = http.client.HTTPSConnection("localhost", port, timeout=30, context=authority(server))
    plain = socket.create_connection(("127.0.0.1", port), 30, source_address=(source, 0))
    opened.sock = authority(server).wrap_socket(plain, server_hostname="localhost")
    return opened


def requested(
    server: Server, method: str, path: str, headers: dict[str, str], body: str | None = None, source: str = "127.0.0.1"
) -> Answer:
    """One request over a connection of its own."""
    with closing(connection(server, source)) as opened:
        opened.request(method, path, body, headers)
        return Answer(opened.getresponse())


def test_wrong_guesses(attacked_server: Server) -> None:
    """Somebody guesses the operator's password from one address, and has it right at last."""
    with closing(connection(attacked_server, "127.0.0.66")) as opened:
        statuses: list[int] = []
        for number in range(GUESSES):
            opened.request("GET", "/", headers=login(attacked_server, password=f"guess {number}"))
            answer = Answer(opened.getresponse())
            statuses.append(answer.status)
            asks = answer.headers.get_all("WWW-Authenticate", [])
            assert len(asks) == (1 if answer.status == 401 else 0)
        opened.request("GET", "/server_info", headers=login(attacked_server))
        late = Answer(opened.getresponse())
    assert set(statuses) == {401, 429}
    assert statuses == sorted(statuses), "once slowed down it stays so while the guessing goes on"
    assert late.status == 429, "a right guess among too many wins nothing"
    assert 1 <= int(late.headers["Retry-After"]) <= 15
    waited = time.monotonic() + int(late.headers["Retry-After"])
    assert requested(attacked_server, "GET", "/server_info", login(attacked_server), source="127.0.0.77").status == 200
    time.sleep(max(0.0, waited - time.monotonic()))
    assert requested(attacked_server, "GET", "/server_info", login(attacked_server), source="127.0.0.66").status == 200


def test_guesses_beside_an_operator(attacked_server: Server) -> None:
    """Somebody guesses from the operator's own address, while he works there."""
    with closing(connection(attacked_server, "127.0.0.68")) as works:
        works.request("GET", "/server_info", headers=login(attacked_server))
        assert Answer(works.getresponse()).status == 200
        statuses: Counter[int] = Counter()
        with closing(connection(attacked_server, "127.0.0.68")) as guesses:
            for number in range(3 * GUESSES):
                guesses.request("GET", "/", headers=login(attacked_server, password=f"wrong {number}"))
                statuses[Answer(guesses.getresponse()).status] += 1
                works.request("GET", "/server_info", headers=login(attacked_server))
                assert Answer(works.getresponse()).status == 200
    assert set(statuses) == {401, 429}


def test_a_flood_takes_neither_processor_nor_memory(attacked_server: Server) -> None:
    """Hundreds of guesses under many names from many addresses."""
    door = psutil.Process(next(part.pid for part in attacked_server.health() if part.name == "door"))
    before, spent = door.memory_info().rss, sum(door.cpu_times()[:2])
    for place in range(20):
        with closing(connection(attacked_server, f"127.0.1.{1 + place}")) as opened:
            for number in range(20):
                wrong = login(attacked_server, name=f"name {place} {number}", password="x" * 700)
                opened.request("GET", "/", headers=wrong)
                assert Answer(opened.getresponse()).status in (401, 429)
    assert door.memory_info().rss - before < 20 << 20
    assert sum(door.cpu_times()[:2]) - spent < 5, "a slow hash of each would take 20 s"


DISGUISED = {
    "a form": ("POST", "/graphql", {"Content-Type": "application/x-www-form-urlencoded"}),
    "text": ("POST", "/graphql", {"Content-Type": "text/plain"}),
    "text that says JSON": ("POST", "/graphql", {"Content-Type": "text/plain; application/json"}),
    "no type": ("POST", "/graphql", {}),
    "a type of GraphQL": ("POST", "/graphql", {"Content-Type": "application/graphql"}),
    "another origin": ("POST", "/graphql", {**JSON, "Origin": "https://example.org"}),
    "the origin null": ("POST", "/graphql", {**JSON, "Origin": "null"}),
    "our name on another port": ("POST", "/graphql", {**JSON, "Origin": "https://localhost"}),
    "another site": ("POST", "/graphql", {**JSON, "Sec-Fetch-Site": "cross-site"}),
    "the same site": ("POST", "/graphql", {**JSON, "Sec-Fetch-Site": "same-site"}),
    "another method": ("GET", "/graphql", {**JSON, "X-HTTP-Method-Override": "POST"}),
    "the door's own words": ("POST", "/graphql", {"Content-Type": "text/plain", "X-Door-Method": "GET"}),
    "an asset from a form": ("POST", "/report_asset_materialization/forged", {"Content-Type": "text/plain"}),
    "an asset by its address": ("POST", "/report_asset_materialization/?asset_key=forged", {}),
    "an asset of another origin": ("POST", "/report_asset_check/forged", {**JSON, "Origin": "https://example.org"}),
    "a deletion": ("DELETE", "/anything", {"Origin": "https://example.org"}),
    "a method of none": ("TRACK", "/graphql", JSON),
}


@pytest.mark.parametrize("way", DISGUISED)
def test_changes_in_disguise(attacked_server: Server, way: str) -> None:
    """A change with the operator's login that a page of another site might have sent."""
    method, path, headers = DISGUISED[way]
    pool = f"disguised{list(DISGUISED).index(way)}"
    body = json.dumps({"query": SET % pool})
    answer = requested(attacked_server, method, path, {**login(attacked_server), **headers}, body)
    assert (answer.status, answer.headers.get_all("WWW-Authenticate")) == (403, None)
    assert pool not in pools(attacked_server)


@pytest.mark.parametrize("path", ["/graphql?query=%s", "/%%67raphql?query={version}&query=%s", "//graphql/?query=%s"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_changes_by_get(attacked_server: Server, method: str, path: str) -> None:
    """A mutation in the address of a GET."""
    mutation = (SET % "by_get").replace('"', "%22")
    assert requested(attacked_server, method, path % mutation, login(attacked_server)).status == 403
    assert "by_get" not in pools(attacked_server)


def test_a_name_that_is_not_ours(attacked_server: Server) -> None:
    """A name of somebody else leads to this server (DNS rebinding)."""
    for host in ("evil.example", f"evil.example:{attacked_server.parts.server.proxy_port}", "127.0.0.1"):
        answer = requested(attacked_server, "GET", "/server_info", {**login(attacked_server), "Host": host})
        assert (answer.status, "dagster" in answer.text) == (421, False)


def test_programs_go_on_working(attacked_server: Server) -> None:
    """Programs with a login, which send neither Origin nor Sec-Fetch-Site, go on working."""
    operator = login(attacked_server)
    sent = json.dumps({"query": SET % "program"})
    assert requested(attacked_server, "POST", "/graphql", {**operator, **JSON}, sent).status == 200
    assert "program" in pools(attacked_server)
    assert requested(attacked_server, "GET", "/graphql?query={version}", operator).status == 200
    report = requested(
        attacked_server, "POST", "/report_asset_materialization/by_a_program", {**operator, **JSON}, "{}"
    )
    assert report.status == 200
    assert requested(attacked_server, "GET", "/metrics", operator).status == 200
    followed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert requested(attacked_server, "GET", "/runs", {**operator, **followed}).status == 200
    where = f"wss://localhost:{attacked_server.parts.server.proxy_port}/graphql"
    tls = authority(attacked_server)
    with connect(where, ssl=tls, additional_headers=operator, subprotocols=["graphql-ws"]) as opened:  # pyright: ignore[reportArgumentType]
        opened.send('{"type": "connection_init"}')
        assert json.loads(opened.recv(timeout=60))["type"] == "connection_ack"
    with pytest.raises(InvalidStatus, match="403"):
        connect(where, ssl=tls, additional_headers=operator, origin="https://example.org").close()  # pyright: ignore[reportArgumentType]


def test_nothing_secret_is_logged(attacked_server: Server) -> None:
    """Signatures, passwords and cookies are looked for in every log after requests that succeed and that fail."""
    settings = attacked_server.parts.server
    marks = ["0123456789abcdef" * 4, "a-guess-to-look-for", "a-cookie-to-look-for"]
    signed = client(settings.s3_access, settings.s3_public_endpoint).generate_presigned_url(
        "get_object", Params={"Bucket": "lab-artifacts", "Key": "none"}
    )
    marks.append(signed.partition("X-Amz-Signature=")[2])
    query = signed.partition("?")[2]
    wrong = login(attacked_server, password=marks[1])
    marks.append(wrong["Authorization"].partition(" ")[2])
    for headers in (
        login(attacked_server),
        wrong,
        {**login(attacked_server), "Cookie": f"a={marks[2]}", "Referer": signed},
    ):
        for path in (
            f"/files/x?{query}",
            f"/?X-Amz-Signature={marks[0]}",
            f"/lab-artifacts/none?{query}",
            f"/\\?{query}",
        ):
            requested(attacked_server, "GET", path, headers)
            requested(attacked_server, "POST", path, headers, "x")
    sender = URLLib3Session(verify=str(attacked_server.folder / "proxy" / ROOT_CERTIFICATE))
    for place in (signed.partition("/lab-")[0], settings.s3_endpoint):
        for bad in (
            query,
            query.replace("Signature=", "Signature=0"),
            f"{query}&uploads",
            f"X-Amz-Signature={marks[0]}",
        ):
            sender.send(AWSRequest("GET", f"{place}/lab-artifacts/none?{bad}").prepare())
    marks += settings.secrets
    logs = [
        file
        for folder in attacked_server.parts.settings.home.rglob("log*")
        if folder.is_dir()
        for file in folder.iterdir()
    ]
    assert any(file.name == "proxy.log" for file in logs)
    for file in (file for file in logs if file.is_file()):
        assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0, file
        text = file.read_text(encoding="utf-8", errors="replace")
        assert [mark for mark in marks if mark in text] == [], file
