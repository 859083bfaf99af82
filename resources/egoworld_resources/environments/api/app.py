"""The app: the library's operations as routes, one shape of errors, OpenAPI that says all of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.metadata import version

import anyio.to_thread
from fastapi import FastAPI
from starlette.middleware import Middleware

from egoworld_resources.environments.api import envs, history, work
from egoworld_resources.environments.api.errors import show_errors
from egoworld_resources.environments.api.gate import Gate
from egoworld_resources.environments.api.page import page
from egoworld_resources.environments.api.tokens import Tokens
from egoworld_resources.environments.fabric.envs import Fabric

THREADS = 100
"""Requests that are served at once: each waits in a thread for uv, a lock or code."""
ROUTERS = (envs.router, work.router, history.router, history.open_router, page.router)


@asynccontextmanager
async def _threads(_app: FastAPI) -> AsyncGenerator[None]:
    anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
    yield


def make_app(fabric: Fabric, tokens: Tokens) -> FastAPI:
    """The API over an open ``fabric``, for those who hold one of ``tokens``."""
    app = FastAPI(
        title="egoworld envs",
        version=version("egoworld"),
        description="Envs of workflows: made from locks, changed one operation at a time, every step in an audit.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        middleware=[Middleware(Gate, tokens=tokens)],
        lifespan=_threads,
    )
    app.state.fabric = fabric
    show_errors(app)
    for router in ROUTERS:
        app.include_router(router)
    app.state.routes = [route for router in ROUTERS for route in router.routes]
    return app
