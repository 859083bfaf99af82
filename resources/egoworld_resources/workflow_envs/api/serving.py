"""`egoworld env serve`: the API on this machine until it is stopped."""

from __future__ import annotations

import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TextIO, cast

import uvicorn
from fastapi import FastAPI

from egoworld_resources.programs.redaction import RedactedStream
from egoworld_resources.settings import Settings
from egoworld_resources.workflow_envs.api.app import make_app
from egoworld_resources.workflow_envs.api.listening import Listening
from egoworld_resources.workflow_envs.api.tidying import tidied
from egoworld_resources.workflow_envs.api.tokens import Tokens
from egoworld_resources.workflow_envs.code_sandbox import capabilities
from egoworld_resources.workflow_envs.opening import open_fabric

GRACE_S = 60
"""How long running operations may still take when the service is stopped."""
IDLE_S = 75
"""How long a connection may rest: longer than clients keep theirs, so that it is they who close it."""
OPEN_FILES = 1 << 16
"""Descriptors that the service asks for: each connection and each run of code holds some."""


def serve(settings: Settings, where: AbstractContextManager[Listening], say: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; then what is on its way is done, and nothing new is taken.

    ``say`` prints what people want to know at the start. Raises BadConfiguration (address, partitions, tokens) and
    AuditFailed before anything is served.
    """
    tokens = Tokens.of(settings, os.environ)
    known = tokens.all() or tokens.extra
    with where as listening:
        fabric = open_fabric(settings)
        sys.stderr = cast("TextIO", RedactedStream(sys.stderr))  # where all that is logged goes, tracebacks too
        try:
            for line in capabilities().sentences():
                say(line)
            say(f"envs in {fabric.config.envs_base_path}, audit in {fabric.operations.database}")
            if not known:
                say("nobody has a token yet: `egoworld env token create NAME` makes one, no restart needed")
            say(f"serving {listening.shown}")
            with tidied(fabric, say):
                _run(make_app(fabric, tokens, settings.project), listening.socket)
        finally:
            fabric.operations.close()


def _run(app: FastAPI, listening: socket.socket) -> None:
    """Serve on a socket; both signals end in a return, once."""
    _more_descriptors()
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,  # anyone on this machine could claim another address by them
        lifespan="on",
        timeout_graceful_shutdown=GRACE_S,
        timeout_keep_alive=IDLE_S,
    )
    for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises the signal again after its end
        signal.signal(number, lambda _number, _frame: None)
    uvicorn.Server(config).run(sockets=[listening])


def _more_descriptors() -> None:
    """Shells allow 1024, which a hundred runs with their pipes use up; more needs no right up to the hard limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
