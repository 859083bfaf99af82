"""The fabric of an installation: its configuration, policy, backends and audit, put together."""

from __future__ import annotations

from collections.abc import Mapping

from egoworld_resources.environments.building import Building
from egoworld_resources.environments.checkout import checkout_wheels
from egoworld_resources.environments.conda.backend import SERVER, CondaBackend
from egoworld_resources.environments.fabric.backends import Backend
from egoworld_resources.environments.fabric.config import FabricConfig
from egoworld_resources.environments.fabric.envs import Fabric
from egoworld_resources.environments.fabric.operations import Operations
from egoworld_resources.environments.fabric.uv_backend import UvBackend
from egoworld_resources.environments.policy import Policy
from egoworld_resources.environments.redaction import learn_file
from egoworld_resources.environments.uv import Uv, find_uv
from egoworld_resources.settings import Settings


def open_fabric(settings: Settings, config: FabricConfig | None = None) -> Fabric:
    """A fabric that is ready for use. Raises BadConfiguration, AuditFailed."""
    config = config or FabricConfig.load(settings)
    learn_file(settings.layout.server / ".env")
    policy = Policy.read(settings.project / "envs" / "policy.toml", settings.env_profile, settings.policy_file)
    fabric = Fabric(config, _backends(settings, config, policy), Operations(config.database_url), policy.licences)
    fabric.open()
    return fabric


def _backends(settings: Settings, config: FabricConfig, policy: Policy) -> Mapping[str, Backend]:
    program = settings.uv if settings.uv.is_file() else find_uv(settings.project)
    wheels = checkout_wheels(settings.project, settings.wheelhouse)
    if wheels and policy.indexes:  # whoever runs this installation chose that folder; a kit's is verified
        policy = policy.model_copy(update={"indexes": (*policy.indexes, str(wheels))})
    cuda = {"__cuda": config.cuda} if config.cuda else {}
    machine = {**SERVER, "__glibc": policy.glibc, **cuda}
    backends: list[Backend] = [
        UvBackend(Building(Uv(program, config.uv_cache_dir), wheels), policy, bytecode=config.bytecode),
        # beside uv's cache, not in it: `uv cache prune` removes what is not uv's
        CondaBackend(config.uv_cache_dir.with_name(f"{config.uv_cache_dir.name}-conda"), policy.channels, machine),
    ]
    return {backend.name: backend for backend in backends}
