"""Route of the main project: which env needs what of it."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request
from fastapi.security import HTTPBearer

from egoworld_resources.workflow_envs.api.envs import FabricOf
from egoworld_resources.workflow_envs.api.errors import declared
from egoworld_resources.workflow_envs.api.project_models import ProjectInfo

router = APIRouter(dependencies=[Depends(HTTPBearer(auto_error=False))])


@router.get("/project-info", operation_id="project_info", responses=declared())
def project_info(request: Request, fabric: FabricOf) -> ProjectInfo:
    """Which packages of the main project each model env and each env of a workflow has, in which versions, and where
    the two cannot agree."""
    return ProjectInfo.of_project(request.app.state.project, fabric)
