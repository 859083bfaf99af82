"""Routes of envs: create, list, get, export, sync, update, delete, cleanup."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.security import HTTPBearer

from egoworld_resources.workflow_envs.actors import Actor
from egoworld_resources.workflow_envs.api import foreign, forms
from egoworld_resources.workflow_envs.api.bodies import StrictRoute
from egoworld_resources.workflow_envs.api.disk import disk_of
from egoworld_resources.workflow_envs.api.errors import BodyTooLarge, Forbidden, WrongMediaType, declared
from egoworld_resources.workflow_envs.api.gate import actor_of
from egoworld_resources.workflow_envs.api.links import linked
from egoworld_resources.workflow_envs.api.models import (
    KEY_PART,
    LONGEST_WAIT_S,
    VERSION_PART,
    Cleaned,
    Cleanup,
    CondaLock,
    CreateEnv,
    Deleted,
    Disk,
    Env,
    Envs,
    Exported,
    Key,
    Licences,
    Synced,
    UpdateEnv,
    listed,
    named,
)
from egoworld_resources.workflow_envs.code_sandbox import SandboxFailed
from egoworld_resources.workflow_envs.conda.exchange import conda_lock_of
from egoworld_resources.workflow_envs.errors import (
    BuildFailed,
    Busy,
    CondaFailed,
    Damaged,
    EnvAlreadyExists,
    EnvLocked,
    EnvNotFound,
    IndexSilent,
    InvalidKey,
    InvalidPackages,
    NoSpace,
    NotAccessible,
    PolicyRefused,
    PythonNotFound,
    ResolutionFailed,
    UvAbsent,
    UvFailed,
)
from egoworld_resources.workflow_envs.fabric import Fabric
from egoworld_resources.workflow_envs.keys import EnvKey
from egoworld_resources.workflow_envs.requirements import of_file

KEYED = (InvalidKey, EnvNotFound, Damaged, NotAccessible)
CHANGES = (*KEYED, Forbidden, EnvLocked, NoSpace, BodyTooLarge, WrongMediaType, Busy)
BUILDS = (
    InvalidPackages,
    PolicyRefused,
    ResolutionFailed,
    BuildFailed,
    SandboxFailed,
    PythonNotFound,
    UvAbsent,
    UvFailed,
    CondaFailed,
    IndexSilent,
)

router = APIRouter(route_class=StrictRoute, dependencies=[Depends(HTTPBearer(auto_error=False))])


async def fabric_of(request: Request) -> Fabric:
    """The fabric that is served."""
    return request.app.state.fabric


async def key_of(
    workflow_id: Annotated[str, Path(json_schema_extra=dict(KEY_PART))],
    node_id: Annotated[str, Path(json_schema_extra=dict(KEY_PART))],
    version_id: Annotated[str, Query(json_schema_extra=dict(VERSION_PART))] = "",
) -> EnvKey:
    """The env that an address means. Raises InvalidKey."""
    return EnvKey(workflow_id, node_id, version_id)


FabricOf = Annotated[Fabric, Depends(fabric_of)]
Asker = Annotated[Actor, Depends(actor_of)]
Which = Annotated[EnvKey, Depends(key_of)]
Wait = Annotated[
    float, Query(ge=0, le=LONGEST_WAIT_S, allow_inf_nan=False, description="Seconds to wait for an env that is locked.")
]


@router.post(
    "/envs",
    status_code=201,
    operation_id="create_env",
    openapi_extra=forms.described(),
    responses={
        **declared(*CHANGES, *BUILDS, EnvAlreadyExists),
        **linked(201, "Made."),
    },
)
def create(
    body: Annotated[CreateEnv, Depends(forms.create_env)],
    response: Response,
    fabric: FabricOf,
    actor: Asker,
    wait: Wait = 0,
) -> Env:
    """Make an env."""
    key = EnvKey(body.workflow_id, body.node_id, body.version_id)
    packages = [*body.packages, *of_file(body.requirements)]
    made = foreign.create(
        fabric,
        key,
        actor,
        python_version=body.python_version,
        packages=packages,
        backend=body.backend,
        conda_file=body.conda_file,
        wait_s=wait,
    )
    version = f"?version_id={key.version_id}" if key.version_id else ""
    response.headers["Location"] = f"/envs/{key.workflow_id}/{key.node_id}{version}"
    return Env.of_facts(made, "created")


@router.get("/envs", operation_id="list_envs", responses=declared())
def list_envs(fabric: FabricOf) -> Envs:
    """All envs, by key."""
    return Envs(envs=listed(fabric))


@router.post(
    "/envs/cleanup",
    operation_id="cleanup_envs",
    responses=declared(Forbidden, NoSpace, BodyTooLarge, WrongMediaType, Busy),
)
def cleanup(body: Cleanup, fabric: FabricOf, actor: Asker) -> Cleaned:
    """Remove envs that nothing was done with for a while; those in use stay."""
    gone = fabric.cleanup(actor, idle_hours=body.idle_hours, dry_run=body.dry_run)
    return Cleaned(dry_run=body.dry_run, removed=[Key.of(key) for key in gone])


@router.get(
    "/envs/{workflow_id}/{node_id}",
    operation_id="get_env",
    responses={**declared(*KEYED), **linked(200, "The env.", ("export_env", "list_deps", "delete_env"))},
)
def get(key: Which, fabric: FabricOf) -> Env:
    """One env."""
    return Env.of_facts(fabric.get(key))


@router.get("/envs/{workflow_id}/{node_id}/export", operation_id="export_env", responses=declared(*KEYED))
def export(key: Which, fabric: FabricOf) -> Exported:
    """The declaration and the lock of an env."""
    env = fabric.get(key)
    texts = {"pyproject_toml": env.declared.declaration, "uv_lock": env.declared.lock}
    return Exported(**named(key), backend=env.backend, lock_digest=env.lock_digest, **texts)


@router.get(
    "/envs/{workflow_id}/{node_id}/conda-lock",
    operation_id="conda_lock_of_env",
    responses=declared(*KEYED, InvalidPackages, CondaFailed, IndexSilent, NoSpace),
)
def conda_lock(key: Which, fabric: FabricOf) -> CondaLock:
    """An env of conda packages as a conda-lock.yml; INVALID_PACKAGES for others."""
    return CondaLock(**named(key), conda_lock=conda_lock_of(fabric, key))


@router.get("/envs/{workflow_id}/{node_id}/disk", operation_id="disk_of_env", responses=declared(*KEYED))
def disk(key: Which, fabric: FabricOf) -> Disk:
    """How much of an env is on disk for it alone."""
    return disk_of(fabric.get(key))


@router.get("/envs/{workflow_id}/{node_id}/licences", operation_id="licences_of_env", responses=declared(*KEYED))
def licences(key: Which, fabric: FabricOf) -> Licences:
    """The licence of each package, and whether the policy allows it: reported here, not refused."""
    return Licences.of_facts(key, fabric.licences(key))


@router.get("/envs/{workflow_id}/{node_id}/verify", operation_id="verify_env", responses=declared(*KEYED))
def verify(key: Which, fabric: FabricOf) -> Env:
    """Compare every byte of an env with what was installed; ENV_DAMAGED names files that differ."""
    return Env.of_facts(fabric.verify(key))


@router.post(
    "/envs/{workflow_id}/{node_id}/sync",
    operation_id="sync_env",
    responses={**declared(*CHANGES, *BUILDS), **linked(200, "Made again.", ("get_env", "run_code", "delete_env"))},
)
def sync(key: Which, fabric: FabricOf, actor: Asker, wait: Wait = 0) -> Synced:
    """Make an env again from its lock, whatever happened to its files."""
    env = fabric.sync(key, actor, wait_s=wait)
    fields = Env.of_facts(env, "synced").model_dump()
    return Synced(**fields, packages_installed=len(env.declared.locked_versions))


@router.put(
    "/envs/{workflow_id}/{node_id}",
    operation_id="update_env",
    responses={**declared(*CHANGES, *BUILDS), **linked(200, "Changed.", ("get_env", "list_deps", "run_code"))},
)
def update(key: Which, body: UpdateEnv, fabric: FabricOf, actor: Asker, wait: Wait = 0) -> Env:
    """Another Python, another list of packages, or newer versions."""
    env = fabric.update(
        key, actor, python_version=body.python_version, packages=body.packages, upgrade=body.upgrade, wait_s=wait
    )
    return Env.of_facts(env, "updated")


@router.delete(
    "/envs/{workflow_id}/{node_id}",
    operation_id="delete_env",
    responses={**declared(*CHANGES), **linked(200, "Gone.", ("get_env", "export_env"))},
)
def delete(key: Which, fabric: FabricOf, actor: Asker, wait: Wait = 0) -> Deleted:
    """Remove an env; ENV_LOCKED while code runs in it."""
    fabric.delete(key, actor, wait_s=wait)
    return Deleted.of(key)
