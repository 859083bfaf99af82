"""Which requests to the UI another site may have sent: a browser adds the login to any request by itself.

The rules are those of Fetch Metadata and of Origin (W3C): browsers set both headers and pages cannot. A client that is
no browser sends neither, and is judged by its method and Content-Type alone.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote

SAFE = ("GET", "HEAD", "OPTIONS")
CHANGING = ("POST", "PUT", "PATCH", "DELETE")
ONCE = ("origin", "sec-fetch-site", "content-type", "host", "upgrade")
"""Headers that two readers could understand in two ways when they come twice."""
OVERRIDES = ("x-http-method-override", "x-http-method", "x-method-override")
JSON_TYPE = re.compile(r"\s*application/(?:[\w.-]+\+)?json\s*(?:;.*)?", re.IGNORECASE)
SHOWN_BY_OTHERS = ("navigate", "document")
"""Sec-Fetch-Mode and Sec-Fetch-Dest of a link to us that somebody follows: shown in a tab, not in a frame."""
FIELDS = 100
TOKENS = 20_000


@dataclass(frozen=True)
class Asked:
    """A request as the proxy received it. headers: by lower-case name, with every value."""

    method: str
    uri: str
    headers: Mapping[str, tuple[str, ...]]

    def header(self, name: str) -> str:
        """The only value of a header, or nothing."""
        return next(iter(self.headers.get(name, ())), "").strip()


def refusal(asked: Asked, origins: Collection[str]) -> str | None:
    """Why a request is not passed on, or None. origins: the addresses of our own pages, as https://HOST:PORT."""
    twice = [name for name in ONCE if len(asked.headers.get(name, ())) > 1]
    if twice:
        return f"the header {twice[0]} comes twice"
    if any(name in asked.headers for name in OVERRIDES):
        return "the method of a request cannot be overridden"
    if asked.method not in (*SAFE, *CHANGING):
        return f"{asked.method} is not a method of this server"
    upgrade = bool(asked.header("upgrade"))
    return (
        _from_elsewhere(asked, origins, upgrade)
        or (_not_json(asked) if asked.method in CHANGING else None)
        or (_changes_by_get(asked.uri) if asked.method in SAFE else None)
    )


def _from_elsewhere(asked: Asked, origins: Collection[str], upgrade: bool) -> str | None:
    """Another site's page sent it, as the browser says."""
    origin, site = asked.header("origin"), asked.header("sec-fetch-site").lower()
    if origin and origin not in origins:
        return f"pages of {origin[:200]!r} may not use this server"
    if asked.method in CHANGING or upgrade:
        return None if site in ("", "same-origin") else "a page of another site asked for a change"
    if site in ("", "same-origin", "none"):
        return None
    shown = (asked.header("sec-fetch-mode").lower(), asked.header("sec-fetch-dest").lower()) == SHOWN_BY_OTHERS
    return None if asked.method == "GET" and shown else "pages of other sites may link to this server and nothing else"


def _not_json(asked: Asked) -> str | None:
    """Any page may POST forms and plain text: they change nothing. Before other methods the browser asks us."""
    kind = asked.header("content-type")
    if asked.method != "POST" and not kind:
        return None
    return None if JSON_TYPE.fullmatch(kind) else "send Content-Type: application/json"


def _changes_by_get(uri: str) -> str | None:
    """GraphQL in an address may ask and change nothing."""
    path, _, asked = uri.partition("?")
    if "graphql" not in unquote(path).lower():
        return None
    from graphql import GraphQLError, OperationDefinitionNode, OperationType, parse

    try:
        texts = parse_qs(asked, keep_blank_values=True, max_num_fields=FIELDS).get("query", ())
    except ValueError:
        return f"an address of GraphQL has at most {FIELDS} fields"
    for text in texts:
        try:
            document = parse(text, no_location=True, max_tokens=TOKENS)
        except (GraphQLError, RecursionError):
            return "the GraphQL query of the address cannot be read; send it by POST"
        operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
        if any(node.operation is not OperationType.QUERY for node in operations):
            return "a mutation is sent by POST with Content-Type: application/json"
    return None
