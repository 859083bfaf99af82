"""Routes of what happened: operations, and whether the service works."""

from __future__ import annotations

import os
from functools import partial
from typing import Annotated

import anyio.to_thread
from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.security import HTTPBearer

from egoworld_resources.workflow_envs.api.bounded import Bounded
from egoworld_resources.workflow_envs.api.envs import FabricOf
from egoworld_resources.workflow_envs.api.errors import LogNotFound, declared
from egoworld_resources.workflow_envs.api.gate import token_of
from egoworld_resources.workflow_envs.api.models import Health, Me, OperationFacts, OperationLog, Operations
from egoworld_resources.workflow_envs.code_sandbox import capabilities
from egoworld_resources.workflow_envs.errors import InvalidKey
from egoworld_resources.workflow_envs.keys import PART, EnvKey

router = APIRouter(dependencies=[Depends(HTTPBearer(auto_error=False))])
open_router = APIRouter()

LONGEST_PAGE = 500
LONGEST_LOG = 1 << 16
KEY = f"^{PART.pattern}/{PART.pattern}(/{PART.pattern})?$"
ID = "^[0-9a-f]{32}$"


@router.get("/operations", operation_id="list_operations", responses=declared(InvalidKey))
def list_operations(
    fabric: FabricOf,
    env: Annotated[
        str | None, Query(pattern=KEY, description="Only of this env: workflow_id/node_id or …/version_id.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=LONGEST_PAGE)] = 100,
    before: Annotated[str | None, Query(pattern=ID, description="`next` of the page before.")] = None,
    running: Annotated[bool, Query(description="Only those without an end.")] = False,
) -> Operations:
    """Who did what to envs, newest first."""
    parts = EnvKey(*env.split("/")).parts if env else None
    found = fabric.operations.history(parts=parts, limit=limit, before=before, running=running)
    more = found[-1].id if len(found) == limit else None
    return Operations(operations=[OperationFacts.of_operation(one) for one in found], next=more)


@router.get("/operations/{operation}/log", operation_id="operation_log", responses=declared(LogNotFound))
def operation_log(operation: Annotated[str, Path(pattern=ID)], fabric: FabricOf) -> OperationLog:
    """The output of uv in an operation, so far if it is still running."""
    try:
        with fabric.places.log(operation).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - LONGEST_LOG))
            text = file.read().decode(errors="replace")
    except FileNotFoundError as error:
        raise LogNotFound(f"there is no log of operation {operation}: they are kept for a week") from error
    return OperationLog(id=operation, text=text)


@router.get("/me", operation_id="me", responses=declared())
def me(request: Request) -> Me:
    """Whose token this is."""
    token = token_of(request)
    return Me(name=token.name, role=token.role)


@open_router.get("/health", operation_id="health", responses=declared())
async def health(request: Request, fabric: FabricOf) -> Health:
    """Whether the audit database answers: without it nothing can be changed."""
    threads: Bounded = request.app.state.health
    await anyio.to_thread.run_sync(partial(fabric.operations.history, limit=1), limiter=threads.threads)
    return Health(isolation=capabilities().sentences())
