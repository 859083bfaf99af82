"""Bodies of requests, read strictly: what two programs could read in two ways is refused, with a code."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from egoworld_resources.workflow_envs.api.errors import InvalidRequest, WrongMediaType

JSON = "application/json"


class StrictRequest(Request):
    """A request whose JSON is read by ``parsed``."""

    async def json(self) -> Any:
        """The body. Raises HTTPException, which FastAPI passes on as it is."""
        try:
            return parsed(await self.body())
        except InvalidRequest as error:
            raise HTTPException(error.status, str(error)) from error


class StrictRoute(APIRoute):
    """A route that takes JSON alone where it takes a body."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answered = super().get_route_handler()

        async def strictly(request: Request) -> Response:
            if self.body_field is not None:
                refuse_other_types(request, (JSON,))
            return await answered(StrictRequest(request.scope, request.receive))

        return strictly


def refuse_other_types(request: Request, known: tuple[str, ...]) -> None:
    """Raises HTTPException for a body of a type that is not read; one that names none is taken for JSON."""
    kind = media_type(request)
    if kind and kind not in known:
        raise HTTPException(
            WrongMediaType.status, f"a body of type {kind[:100]} is not read; send {' or '.join(known)}"
        )


def media_type(request: Request) -> str:
    """The declared type of the body, "" without one."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def parsed(raw: bytes | str) -> Any:
    """JSON as its standard has it, each name of an object once. Raises InvalidRequest."""
    try:
        text = raw if isinstance(raw, str) else raw.decode("utf-8")
        return json.loads(text, object_pairs_hook=_each_once, parse_constant=_no_number)
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"the body is not UTF-8: {error.reason} at byte {error.start}") from error
    except RecursionError as error:
        raise InvalidRequest("the body is nested more deeply than any request needs") from error
    except ValueError as error:
        raise InvalidRequest(f"the body is not JSON: {error}") from error


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))
        raise ValueError(f"{twice[:100]!r} is in one object twice")
    return found


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a JSON number")
