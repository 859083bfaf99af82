"""Who gets in: a token for everything but the page, its role for changes, and no body longer than is needed."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext

import anyio.to_thread
from fastapi import Request
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from egoworld_resources.errors import BadConfiguration
from egoworld_resources.programs.redaction import redacted
from egoworld_resources.workflow_envs.actors import Actor
from egoworld_resources.workflow_envs.api.bounded import Bounded
from egoworld_resources.workflow_envs.api.errors import BodyTooLarge, Forbidden, Unauthorized, answer, known
from egoworld_resources.workflow_envs.api.tokens import Token, Tokens
from egoworld_resources.workflow_envs.errors import FabricError

OPEN = frozenset({"/", "/page.css", "/page.js", "/health", "/openapi.json"})
"""What needs no token: it reveals nothing about any env."""
LOOKING = frozenset({"GET", "HEAD", "OPTIONS"})
LONGEST = 1 << 20
"""Bytes of a body: a long program or a requirements.txt of hundreds of packages with hashes fits."""
TOKEN = "egoworld.token"
CLAIM = 100
"""Characters of what a proxy claims that are written down."""
LENGTH = b"content-length"
LONG = 1 << 14
"""Bytes of an answer that is looked through beside other answers, not before them."""
PLAIN: Mapping[bytes, bytes] = {b"x-content-type-options": b"nosniff", b"cache-control": b"no-store"}


class Gate:
    """Around an app: answers by itself what may not get in, before a byte of the body is read."""

    def __init__(self, app: ASGIApp, tokens: Tokens, changes: Bounded, longest: int = LONGEST) -> None:
        self._app = app
        self._changes = changes
        self._tokens = tokens
        self._longest = longest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        plain = _Plain(send)
        try:
            self._admit(scope)
            with nullcontext() if scope["method"] in LOOKING or _of_a_run(scope) else self._changes.one():
                await self._app(scope, self._bounded(receive), plain)
        except (FabricError, BadConfiguration) as error:  # those of the app are answered within it
            await answer(known(error))(scope, receive, plain)

    def _admit(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        if scope["path"] not in OPEN:
            scope[TOKEN] = self._token(scope, headers)
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._longest:
            raise BodyTooLarge(self._too_long, longest=self._longest)

    def _token(self, scope: Scope, headers: Headers) -> Token:
        kind, _, text = headers.get("authorization", "").partition(" ")
        token = self._tokens.whose(text.strip()) if kind.lower() == "bearer" else None
        if token is None:
            raise Unauthorized(
                "a token is needed: send the header 'Authorization: Bearer TOKEN'; "
                "`egoworld env token create NAME` makes one"
            )
        if token.role != "writer" and scope["method"] not in LOOKING:
            raise Forbidden(f"token {token.name!r} may look and not change; it needs the role writer", role=token.role)
        return token

    @property
    def _too_long(self) -> str:
        return f"the body is longer than {self._longest} bytes, more than is ever needed"

    def _bounded(self, receive: Receive) -> Receive:
        """Counts what comes: a body need not say beforehand how long it is."""
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._longest:
                raise HTTPException(BodyTooLarge.status, self._too_long)
            return message

        return counted


class _Plain:
    """Sends an answer whole, with the headers that each one has, and without secrets in headers and body."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message = {}
        self._body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
        elif message["type"] == "http.response.body":
            self._body += message.get("body", b"")
            if not message.get("more_body"):
                await self._end()
        else:
            await self._send(message)

    async def _end(self) -> None:
        short = len(self._body) < LONG
        body = _hidden(self._body) if short else await anyio.to_thread.run_sync(_hidden, self._body)
        kept = [(name, _hidden(value)) for name, value in self._start["headers"] if name.lower() != LENGTH]
        has_length = len(kept) < len(self._start["headers"])
        length = [(LENGTH, str(len(body)).encode())] if has_length else []
        await self._send({**self._start, "headers": [*kept, *length, *PLAIN.items()]})
        await self._send({"type": "http.response.body", "body": body})


def _hidden(content: bytes) -> bytes:
    return redacted(content.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")


def _of_a_run(scope: Scope) -> bool:
    """Whether code is run or a run is cancelled: that has a bound of its own, or none."""
    return "run" in scope["path"].split("/")[4:5]


def token_of(request: Request) -> Token:
    """The token that the gate let in."""
    return request.scope[TOKEN]


async def actor_of(request: Request) -> Actor:
    """Who makes the request, for the audit: the peer, and whom a proxy claims to forward for."""
    peer = f"{request.client.host}:{request.client.port}" if request.client else "by its socket"
    claimed = request.headers.get("x-forwarded-for", "").strip()[:CLAIM]
    return Actor(token_of(request).name, f"http {peer}" + (f" (says: for {claimed})" if claimed else ""))
