"""The fabric of an installation: its configuration, policy, backends and audit, put together."""

from __future__ import annotations

from collections.abc import Mapping

from egoworld_resources.environments.building.uv import Uv, uv_of
from egoworld_resources.environments.building.venv import Building
from egoworld_resources.environments.checkout import checkout_wheels
from egoworld_resources.environments.policy.rules import Policy
from egoworld_resources.programs.redaction import learn_file
from egoworld_resources.settings import Settings
from egoworld_resources.workflow_envs.audit import Operations
from egoworld_resources.workflow_envs.backends import Backend
from egoworld_resources.workflow_envs.conda.backend import SERVER, CondaBackend
from egoworld_resources.workflow_envs.config import FabricConfig
from egoworld_resources.workflow_envs.fabric import Fabric
from egoworld_resources.workflow_envs.uv_backend import UvBackend


def open_fabric(settings: Settings, config: FabricConfig | None = None) -> Fabric:
    """A fabric that is ready for use. Raises BadConfiguration, AuditFailed."""
    config = config or FabricConfig.load(settings)
    learn_file(settings.layout.server / ".env")
    policy = Policy.read(settings.project / "envs" / "policy.toml", settings.env_profile, settings.policy_file)
    fabric = Fabric(config, _backends(settings, config, policy), Operations(config.database_url), policy.licences)
    fabric.open()
    return fabric


def _backends(settings: Settings, config: FabricConfig, policy: Policy) -> Mapping[str, Backend]:
    program = settings.uv if settings.uv.is_file() else uv_of(settings.project) or settings.uv
    wheels = checkout_wheels(settings.project, settings.wheelhouse)
    if wheels and policy.indexes:  # the operator chose that folder; a kit's is verified
        policy = policy.model_copy(update={"indexes": (*policy.indexes, str(wheels))})
    cuda = {"__cuda": config.cuda} if config.cuda else {}
    machine = {**SERVER, "__glibc": policy.glibc, **cuda}
    backends: list[Backend] = [
        UvBackend(Building(Uv(program, config.uv_cache_dir), wheels), policy, bytecode=config.bytecode),
        # beside uv's cache, not in it: `uv cache prune` removes what is not uv's
        CondaBackend(config.uv_cache_dir.with_name(f"{config.uv_cache_dir.name}-conda"), policy.channels, machine),
    ]
    return {backend.name: backend for backend in backends}
