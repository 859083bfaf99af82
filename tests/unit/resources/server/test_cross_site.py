"""Which requests are passed on: what browsers send for our own pages and for others', and what programs send."""

from __future__ import annotations

import pytest

from egoworld_resources.server.cross_site import Asked, refusal

OWN = ("https://localhost:8443", "https://lab.example:8443")
JSON = {"content-type": "application/json"}
OURS = {"origin": OWN[0], "sec-fetch-site": "same-origin"}


def refused(method: str, uri: str = "/graphql", **headers: str) -> str | None:
    named = {name.replace("_", "-"): (value,) for name, value in headers.items()}
    return refusal(Asked(method, uri, named), OWN)


@pytest.mark.parametrize(
    "kind",
    [
        "application/json",
        "Application/JSON; charset=UTF-8",
        "application/json;charset=utf-8",
        "application/graphql+json",
    ],
)
def test_json_is_passed_on(kind: str) -> None:
    assert refused("POST", content_type=kind) is None
    assert refused("POST", content_type=kind, **OURS) is None
    assert refused("POST", content_type=kind, origin=OWN[1]) is None


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "text/plain; application/json", "application/jsonx", "x application/json", "*/*"]
)
def test_anything_else_is_not(kind: str) -> None:
    assert refused("POST", content_type=kind) is not None
    assert refused("POST", content_type=kind, **OURS) is not None


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "GET", "HEAD", "OPTIONS"])
@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "http://localhost:8443",
        "https://localhost",
        "https://localhost:8443.evil.example",
        "https://LOCALHOST:1",
    ],
)
def test_another_origin_is_refused_whatever_it_asks(method: str, origin: str) -> None:
    assert refused(method, content_type="application/json", origin=origin) is not None


def test_where_a_browser_says_that_a_request_comes_from() -> None:
    for site in ("cross-site", "same-site", "none", "anything"):
        assert refused("POST", content_type="application/json", sec_fetch_site=site) is not None
        assert refused("GET", upgrade="websocket", sec_fetch_site=site) is not None
    link = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}
    assert refused("GET", "/runs", **link, sec_fetch_dest="document") is None
    assert refused("GET", "/runs", **link, sec_fetch_dest="iframe") is not None
    assert refused("GET", "/runs", sec_fetch_site="cross-site", sec_fetch_mode="no-cors") is not None
    assert refused("GET", "/runs", sec_fetch_site="none", sec_fetch_mode="navigate") is None
    assert refused("GET", "/files/a", sec_fetch_site="same-origin", sec_fetch_dest="image") is None
    assert refused("GET", upgrade="websocket", origin=OWN[0]) is None
    assert refused("GET", upgrade="websocket", origin="https://evil.example") is not None


def test_what_two_readers_could_understand_in_two_ways() -> None:
    twice = {"content-type": ("application/json", "text/plain")}
    assert refusal(Asked("POST", "/graphql", twice), OWN) is not None
    assert refusal(Asked("GET", "/", {"x-http-method-override": ("DELETE",)}), OWN) is not None
    assert refused("TRACE", "/") is not None
    assert refused("post", content_type="application/json") is not None


@pytest.mark.parametrize("path", ["/graphql", "//graphql", "/graphql/", "/%67raphql", "/GraphQL"])
def test_graphql_in_an_address(path: str) -> None:
    for text in ("{version}", "query a { version }", "subscription", ""):
        assert (refused("GET", f"{path}?query={text}") is None) == (text in ("{version}", "query a { version }"))
    for text in ("mutation{a}", "query a{b} mutation c{d}", "subscription{a}", "%20mutation%7Ba%7D", "{" * 10_000):
        for query in (f"query={text}", f"query={{version}}&query={text}", f"a=1&query={text}"):
            assert refused("GET", f"{path}?{query}") is not None
            assert refused("HEAD", f"{path}?{query}") is not None
    assert refused("GET", f"{path}?{'a=1&' * 200}query={{a}}") is not None
    assert refused("GET", "/runs?query=mutation{a}") is None
