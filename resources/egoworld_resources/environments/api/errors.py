"""What goes wrong, in one shape: {"error": {"code", "message", "details"}}; and the codes that only HTTP has."""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Mapping
from typing import Any, ClassVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute, Match

from egoworld_resources.environments.fabric.errors import AuditFailed, FabricError, InvalidPackages

log = logging.getLogger(__name__)

SHOWN_FAULTS = 20
"""Faults of one request that are named."""


class ErrorFacts(BaseModel):
    """code: for programs; message: what happened, to what, and what to do; details: facts for programs."""

    code: str
    message: str
    details: dict[str, Any] = Field(default_factory=dict)


class ErrorBody(BaseModel):
    """The body of every answer that is no success."""

    error: ErrorFacts


class Unauthorized(FabricError):
    """No token, or one that nobody has."""

    code: ClassVar[str] = "UNAUTHORIZED"
    status: ClassVar[int] = 401


class Forbidden(FabricError):
    """A reader's token where something is changed."""

    code: ClassVar[str] = "FORBIDDEN"
    status: ClassVar[int] = 403


class UnknownAddress(FabricError):
    """Nothing is served there."""

    code: ClassVar[str] = "NOT_FOUND"
    status: ClassVar[int] = 404


class LogNotFound(FabricError):
    """Programs said nothing in this operation, or it is unknown, or long ago."""

    code: ClassVar[str] = "LOG_NOT_FOUND"
    status: ClassVar[int] = 404


class WrongMethod(FabricError):
    """Something is served there, and not by this method."""

    code: ClassVar[str] = "METHOD_NOT_ALLOWED"
    status: ClassVar[int] = 405


class BodyTooLarge(FabricError):
    """The body is longer than any request needs."""

    code: ClassVar[str] = "BODY_TOO_LARGE"
    status: ClassVar[int] = 413


class WrongMediaType(FabricError):
    """The body is in a form that is not read."""

    code: ClassVar[str] = "UNSUPPORTED_MEDIA_TYPE"
    status: ClassVar[int] = 415


class InvalidRequest(FabricError):
    """The request is not of the form that OpenAPI describes."""

    code: ClassVar[str] = "INVALID_REQUEST"
    status: ClassVar[int] = 422


class Unforeseen(FabricError):
    """Our fault; what happened is in the log of the service."""

    code: ClassVar[str] = "INTERNAL_ERROR"
    status: ClassVar[int] = 500


OF_HTTP = {error.status: error for error in (UnknownAddress, WrongMethod, BodyTooLarge, WrongMediaType)}


def declared(*errors: type[FabricError]) -> dict[int | str, dict[str, Any]]:
    """Responses for OpenAPI: these, and what every call that needs a token can answer."""
    every = (*errors, Unauthorized, InvalidRequest, AuditFailed, Unforeseen)
    by_status: dict[int, list[str]] = {}
    for error in every:
        by_status.setdefault(error.status, []).append(error.code)
    return {
        status: {"model": ErrorBody, "description": " or ".join(f"`{code}`" for code in codes)}
        for status, codes in sorted(by_status.items())
    }


def answer(error: FabricError, headers: Mapping[str, str] | None = None) -> Response:
    """An error as the answer to a request; ASCII, so that every text of a caller can be carried."""
    body = {"error": {"code": error.code, "message": str(error), "details": dict(error.details)}}
    more = {"WWW-Authenticate": "Bearer"} if error.status == Unauthorized.status else {}
    return Response(json.dumps(body, default=str), error.status, {**(headers or {}), **more}, "application/json")


def show_errors(app: FastAPI) -> None:
    """Give every error of ``app`` the one shape."""
    app.add_exception_handler(FabricError, _known)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(Exception, _unforeseen)


def _known(_request: Request, error: Exception) -> Response:
    assert isinstance(error, FabricError)
    return answer(error)


def _invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return answer(invalid(error.errors()))


def invalid(faults: Any) -> InvalidRequest | InvalidPackages:
    """Faults as pydantic tells them; what was given is not repeated. Those of packages alone are INVALID_PACKAGES."""
    told = [
        {"where": [str(part) for part in fault["loc"]], "message": str(fault["msg"]), "type": str(fault["type"])}
        for fault in faults[:SHOWN_FAULTS]
    ]
    named = "; ".join(f"{'.'.join(fault['where'])}: {fault['message']}" for fault in told)
    kind = InvalidPackages if all("packages" in fault["loc"] for fault in faults) else InvalidRequest
    return kind(f"the request is not as it must be: {named}", errors=told)


def _of_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind = OF_HTTP.get(error.status_code, InvalidRequest)
    if kind is UnknownAddress:
        return answer(UnknownAddress(f"nothing is served at {request.url.path}; /openapi.json lists what is"))
    if kind is WrongMethod:
        methods = _methods(request)
        known = ", ".join(methods)
        said = WrongMethod(f"{request.method} is not served at {request.url.path}; known: {known}", allowed=methods)
        return answer(said, {"Allow": known})
    return answer(kind(str(error.detail)))


def _methods(request: Request) -> list[str]:
    """All methods of an address: several routes may serve one. State holds the routes that routers brought."""
    routes: list[BaseRoute] = [*request.app.routes, *request.app.state.routes]
    matching = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    return sorted({method for route in matching for method in getattr(route, "methods", None) or ()})


def _unforeseen(request: Request, error: Exception) -> Response:
    mark = secrets.token_hex(4)
    log.error("%s %s failed [%s]: %r", request.method, request.url.path, mark, error)
    return answer(Unforeseen(f"an unforeseen error; the log of the service has it under {mark}", mark=mark))
