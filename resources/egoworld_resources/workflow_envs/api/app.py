"""The app: the library's operations as routes, one shape of errors, OpenAPI that documents all of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import anyio.to_thread
from fastapi import FastAPI
from starlette.middleware import Middleware

from egoworld_resources.settings import PROJECT
from egoworld_resources.workflow_envs.api import deps, envs, history, project, running
from egoworld_resources.workflow_envs.api.bounded import CHANGES, HEALTH, READS, WAITING_RUNS, Bounded
from egoworld_resources.workflow_envs.api.errors import show_errors
from egoworld_resources.workflow_envs.api.gate import Gate
from egoworld_resources.workflow_envs.api.page import page
from egoworld_resources.workflow_envs.api.tokens import Tokens
from egoworld_resources.workflow_envs.fabric import Fabric

ROUTERS = (envs.router, deps.router, running.router, history.router, project.router, history.open_router, page.router)


@asynccontextmanager
async def _threads(_app: FastAPI) -> AsyncGenerator[None]:
    anyio.to_thread.current_default_thread_limiter().total_tokens = CHANGES + READS
    yield


def make_app(fabric: Fabric, tokens: Tokens, checkout: Path = PROJECT) -> FastAPI:
    """The API over an open ``fabric``, for those who hold one of ``tokens``. checkout: the main project."""
    app = FastAPI(
        title="egoworld envs",
        version=version("egoworld"),
        description="Envs of workflows: made from locks, changed one operation at a time, every step in an audit.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        middleware=[Middleware(Gate, tokens=tokens, changes=Bounded(CHANGES, "changes"))],
        lifespan=_threads,
    )
    app.state.fabric = fabric
    app.state.project = checkout
    app.state.runs = Bounded(fabric.config.runs_at_once + WAITING_RUNS, "runs, those that wait for room among them,")
    app.state.health = Bounded(HEALTH, "questions for the health")
    show_errors(app)
    for router in ROUTERS:
        app.include_router(router)
    app.state.routes = [route for router in ROUTERS for route in router.routes]
    _describe(app, fabric.config.execution_timeout_max)
    return app


def _describe(app: FastAPI, longest_run_s: float) -> None:
    """Let OpenAPI say what this service allows, not what services may be allowed."""
    described = app.openapi

    def described_here() -> dict[str, Any]:
        schema = described()
        schema["components"]["schemas"]["RunCode"]["properties"]["timeout"]["maximum"] = longest_run_s
        return schema

    app.openapi = described_here
