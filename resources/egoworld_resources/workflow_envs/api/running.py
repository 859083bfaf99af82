"""Routes of code that runs in envs: begun, listed, cancelled; it ends when its client hangs up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated
from uuid import uuid4

import anyio.to_thread
from fastapi import APIRouter, Depends, Path, Request
from fastapi.security import HTTPBearer

from egoworld_resources.workflow_envs.api.bodies import StrictRoute
from egoworld_resources.workflow_envs.api.bounded import Bounded
from egoworld_resources.workflow_envs.api.envs import CHANGES, KEYED, Asker, FabricOf, Which
from egoworld_resources.workflow_envs.api.errors import Forbidden, declared
from egoworld_resources.workflow_envs.api.links import KEY
from egoworld_resources.workflow_envs.api.models import KEY_PART, CancelledRun, Ran, RunCode, RunFacts, RunningCode
from egoworld_resources.workflow_envs.code_sandbox import SandboxFailed
from egoworld_resources.workflow_envs.errors import (
    EnvLocked,
    InvalidTimeout,
    PythonNotFound,
    RunAlreadyCancelled,
    RunCancelled,
    RunEnded,
    RunIdTaken,
    RunNotFound,
    RunNotYours,
    RunTimeout,
    TooManyRuns,
)
from egoworld_resources.workflow_envs.runs import Stop

router = APIRouter(route_class=StrictRoute, dependencies=[Depends(HTTPBearer(auto_error=False))])
RUNS = (InvalidTimeout, PythonNotFound, RunTimeout, RunIdTaken, RunCancelled, TooManyRuns, SandboxFailed)
CANCELS = (Forbidden, EnvLocked, RunNotYours, RunNotFound, RunEnded, RunAlreadyCancelled, SandboxFailed)
PARAMETERS = {name: f"$response.body#/{name}" for name in (*KEY, "run_id")}
CANCEL = {"cancel_run": {"operationId": "cancel_run", "parameters": PARAMETERS}}


@router.post(
    "/envs/{workflow_id}/{node_id}/run",
    operation_id="run_code",
    responses={**declared(*CHANGES, *RUNS), 200: {"description": "What came of it.", "links": CANCEL}},
)
async def run_code(key: Which, body: RunCode, request: Request, fabric: FabricOf, actor: Asker) -> Ran:
    """Run Python code in an env, bounded and apart from everything else. See exit_code for what it did."""
    bounded: Bounded = request.app.state.runs
    run_id = body.run_id or uuid4().hex
    timeout = fabric.config.execution_timeout if body.timeout is None else body.timeout
    with bounded.one():
        async with stopped_by(request) as stop:
            run = partial(
                fabric.run, key, body.code, actor, timeout_s=timeout, run_id=run_id, wait_s=body.wait, stop=stop
            )
            outcome = await anyio.to_thread.run_sync(run, limiter=bounded.threads)
    return Ran.of_outcome(key, run_id, timeout, outcome)


@router.get("/envs/{workflow_id}/{node_id}/runs", operation_id="list_runs", responses=declared(*KEYED))
def list_runs(key: Which, fabric: FabricOf) -> RunningCode:
    """The code that runs in an env now, with the ids by which it can be cancelled."""
    fabric.get(key)
    return RunningCode(runs=[RunFacts.of_run(run) for run in fabric.runs.running(key)], most=fabric.runs.most)


@router.delete(
    "/envs/{workflow_id}/{node_id}/run/{run_id}", operation_id="cancel_run", responses=declared(*KEYED, *CANCELS)
)
def cancel_run(
    key: Which, run_id: Annotated[str, Path(json_schema_extra=dict(KEY_PART))], fabric: FabricOf, actor: Asker
) -> CancelledRun:
    """End code that runs; answered when nothing of it is left."""
    return CancelledRun.of_run(fabric.cancel(key, run_id, actor))


@asynccontextmanager
async def stopped_by(request: Request) -> AsyncGenerator[Stop]:
    """What ends a run when its client hangs up, or when the service cannot wait for it any longer."""
    stop = Stop()
    watching = asyncio.create_task(_watch(request, stop))
    try:
        yield stop
    finally:
        watching.cancel()
        stop.end("the service ended")


async def _watch(request: Request, stop: Stop) -> None:
    """The body was read: what comes next is the end of the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        continue
    stop.end("its client hung up")
