"""The fabric of an installation: its configuration, policy, backends and audit, put together."""

from __future__ import annotations

from egoworld_resources.environments.building import Building
from egoworld_resources.environments.fabric.config import FabricConfig
from egoworld_resources.environments.fabric.envs import Fabric
from egoworld_resources.environments.fabric.operations import Operations
from egoworld_resources.environments.fabric.uv_backend import UvBackend
from egoworld_resources.environments.policy import Policy
from egoworld_resources.environments.uv import Uv, find_uv
from egoworld_resources.settings import Settings


def open_fabric(settings: Settings, config: FabricConfig | None = None) -> Fabric:
    """A fabric that is ready for use. Raises BadConfiguration, AuditFailed."""
    config = config or FabricConfig.load(settings)
    uv = Uv(settings.uv if settings.uv.is_file() else find_uv(settings.project), config.uv_cache_dir)
    policy = Policy.read(settings.project / "envs" / "policy.toml")
    uv_backend = UvBackend(Building(uv), policy)
    fabric = Fabric(config, {uv_backend.name: uv_backend}, Operations(config.database_url))
    fabric.open()
    return fabric
