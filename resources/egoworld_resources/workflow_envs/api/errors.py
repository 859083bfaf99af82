"""What goes wrong, in one shape: {"error": {"code", "message", "details"}}; and the codes that only HTTP has."""

from __future__ import annotations

import errno
import json
import logging
import secrets
from collections.abc import Mapping
from typing import Any, ClassVar, overload

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute, Match

from egoworld_resources.environments.errors import UvMissing
from egoworld_resources.errors import DiskFull, EgoworldError
from egoworld_resources.workflow_envs.errors import (
    AuditFailed,
    FabricError,
    InvalidPackages,
    InvalidTimeout,
    NoSpace,
    UvAbsent,
)
from egoworld_resources.workflow_envs.space import SHUT, not_accessible

log = logging.getLogger(__name__)

EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM, errno.ENOBUFS})
SOON_S = 5
SHOWN_FAULTS = 20
"""Faults of one request that are named."""


class ErrorFacts(BaseModel):
    """code: for programs; message: what happened, to what, and what to do; details: facts for programs."""

    code: str
    message: str
    details: dict[str, Any] = Field(default_factory=dict)


class ErrorBody(BaseModel):
    """The body of every answer that is an error."""

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
    """The operation has no log: nothing was written, it is unknown, or its log expired."""

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


class Misconfigured(FabricError):
    """The service cannot work as it is set up; the message names what to correct."""

    code: ClassVar[str] = "BAD_CONFIGURATION"
    status: ClassVar[int] = 500


class OutOfResources(FabricError):
    """The machine has no process, descriptor or memory left for this call; nothing was done."""

    code: ClassVar[str] = "OUT_OF_RESOURCES"
    status: ClassVar[int] = 503


class Unforeseen(FabricError):
    """Our fault; what happened is in the log of the service."""

    code: ClassVar[str] = "INTERNAL_ERROR"
    status: ClassVar[int] = 500


OF_HTTP = {error.status: error for error in (UnknownAddress, WrongMethod, BodyTooLarge, WrongMediaType)}


def declared(*errors: type[FabricError]) -> dict[int | str, dict[str, Any]]:
    """Responses for OpenAPI: these, and what every call that needs a token can answer."""
    every = (*errors, Unauthorized, InvalidRequest, AuditFailed, Misconfigured, OutOfResources, Unforeseen)
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
    if "retry_after" in error.details:
        more["Retry-After"] = str(error.details["retry_after"])
    return Response(json.dumps(body, default=str), error.status, {**(headers or {}), **more}, "application/json")


def show_errors(app: FastAPI) -> None:
    """Give every error of ``app`` the one shape."""
    for kind in (EgoworldError, OSError, MemoryError, RuntimeError):
        app.add_exception_handler(kind, _known)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(Exception, _unforeseen)


def _known(_request: Request, error: Exception) -> Response:
    expected = known(error)
    if expected is None:
        raise error
    return answer(expected)


@overload
def known(error: EgoworldError) -> FabricError: ...


@overload
def known(error: Exception) -> FabricError | None: ...


def known(error: Exception) -> FabricError | None:
    """What an error of the library or of the system means to a caller; None when nobody foresaw it."""
    if isinstance(error, FabricError):
        return error
    if isinstance(error, DiskFull):
        return NoSpace(str(error))
    if isinstance(error, UvMissing):
        return UvAbsent(str(error))
    if isinstance(error, EgoworldError):
        return Misconfigured(str(error))
    number = error.errno if isinstance(error, OSError) else None
    if number in (errno.ENOSPC, errno.EDQUOT):
        return NoSpace(f"no space left: {error}")
    if isinstance(error, OSError) and number in SHUT:
        return not_accessible(error)
    no_thread = isinstance(error, RuntimeError) and "can't start new thread" in str(error)
    if number in EXHAUSTED or no_thread or isinstance(error, MemoryError):
        words = f"the machine has nothing left for this call ({error or 'memory'}); try again in {SOON_S} s"
        return OutOfResources(words, retry_after=SOON_S)
    return None


def _invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return answer(invalid(error.errors()))


def invalid(faults: Any) -> FabricError:
    """Faults as pydantic lists them; the input is not repeated.

    Those of packages alone are INVALID_PACKAGES, those of a timeout alone INVALID_TIMEOUT.
    """
    errors = [
        {"where": [str(part) for part in fault["loc"]], "message": str(fault["msg"]), "type": str(fault["type"])}
        for fault in faults[:SHOWN_FAULTS]
    ]
    named = "; ".join(f"{'.'.join(fault['where'])}: {fault['message']}" for fault in errors)
    named_alone = {"packages": InvalidPackages, "timeout": InvalidTimeout}
    kinds = (kind for name, kind in named_alone.items() if all(name in fault["loc"] for fault in faults))
    return next(kinds, InvalidRequest)(f"the request is not as it must be: {named}", errors=errors)


def _of_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind = OF_HTTP.get(error.status_code, InvalidRequest)
    if kind is UnknownAddress:
        return answer(UnknownAddress(f"nothing is served at {request.url.path}; /openapi.json lists what is"))
    if kind is WrongMethod:
        methods = _methods(request)
        known = ", ".join(methods)
        wrong = WrongMethod(f"{request.method} is not served at {request.url.path}; known: {known}", allowed=methods)
        return answer(wrong, {"Allow": known})
    return answer(kind(str(error.detail)))


def _methods(request: Request) -> list[str]:
    """All methods of an address: several routes may serve one. State holds the routes that routers brought."""
    routes: list[BaseRoute] = [*request.app.routes, *request.app.state.routes]
    matching = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    return sorted({method for route in matching for method in getattr(route, "methods", None) or ()})


def _unforeseen(request: Request, error: Exception) -> Response:
    if (expected := known(error)) is not None:  # it came from around the app, not from within
        return answer(expected)
    mark = secrets.token_hex(4)
    log.error("%s %s failed [%s]: %r", request.method, request.url.path, mark, error)
    return answer(Unforeseen(f"an unforeseen error; the log of the service has it under {mark}", mark=mark))
