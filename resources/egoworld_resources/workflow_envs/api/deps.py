"""Routes of what is in an env: its dependencies."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from fastapi.security import HTTPBearer

from egoworld_resources.workflow_envs.api.bodies import StrictRoute
from egoworld_resources.workflow_envs.api.envs import BUILDS, CHANGES, KEYED, Asker, FabricOf, Wait, Which
from egoworld_resources.workflow_envs.api.errors import declared
from egoworld_resources.workflow_envs.api.links import linked
from egoworld_resources.workflow_envs.api.models import AddPackages, Dependencies, Env, RemovePackages, named
from egoworld_resources.workflow_envs.errors import DependencyNotFound

router = APIRouter(route_class=StrictRoute, dependencies=[Depends(HTTPBearer(auto_error=False))])
NEXT = ("list_deps", "remove_deps", "run_code", "export_env")


@router.get("/envs/{workflow_id}/{node_id}/deps", operation_id="list_deps", responses=declared(*KEYED))
def list_deps(key: Which, fabric: FabricOf) -> Dependencies:
    """What an env declares, and the versions that its lock chose."""
    declared_ = fabric.get(key).declared
    return Dependencies(
        **named(key), dependencies=list(declared_.dependencies), locked_versions=declared_.locked_versions
    )


@router.post(
    "/envs/{workflow_id}/{node_id}/deps",
    operation_id="add_deps",
    responses={**declared(*CHANGES, *BUILDS), **linked(200, "Added.", NEXT)},
)
def add_deps(key: Which, body: AddPackages, fabric: FabricOf, actor: Asker, wait: Wait = 0) -> Env:
    """Declare more packages."""
    return Env.of_facts(fabric.add(key, body.packages, actor, wait_s=wait), "updated")


@router.delete(
    "/envs/{workflow_id}/{node_id}/deps",
    operation_id="remove_deps",
    responses={**declared(*CHANGES, *BUILDS, DependencyNotFound), **linked(200, "Removed.", ("add_deps", "run_code"))},
)
def remove_deps(key: Which, body: RemovePackages, fabric: FabricOf, actor: Asker, wait: Wait = 0) -> Env:
    """Declare fewer packages, named without versions."""
    return Env.of_facts(fabric.remove(key, body.packages, actor, wait_s=wait), "updated")
