"""A fabric over a tiny index, with envs, cache and audit of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from egoworld_resources.environments.building.uv import Uv
from egoworld_resources.environments.building.venv import Building
from egoworld_resources.environments.policy.rules import Policy
from egoworld_resources.settings import Settings
from egoworld_resources.workflow_envs.actors import Actor
from egoworld_resources.workflow_envs.audit import Operations
from egoworld_resources.workflow_envs.backends import Backend
from egoworld_resources.workflow_envs.config import FabricConfig
from egoworld_resources.workflow_envs.env_facts import EnvFacts
from egoworld_resources.workflow_envs.fabric import Fabric
from egoworld_resources.workflow_envs.keys import EnvKey
from egoworld_resources.workflow_envs.uv_backend import UvBackend

KEY = EnvKey("flow", "node")
TESTER = Actor("tester", "test")


def made_config(folder: Path, database: str = "") -> FabricConfig:
    """Everything below ``folder``; the audit in ``database``, or in a file there."""
    environ = {"DATA_ROOT": str(folder), "DATABASE_URL": database or f"sqlite:///{folder}/audit.sqlite"}
    return FabricConfig.load(Settings.model_validate({"home": folder}), environ)


def made_policy(**rules: object) -> Policy:
    """Rules of no file, but for indexes on this machine."""
    return Policy.model_validate({"private_sources": ["127.0.0.1"], **rules})


def made_fabric(folder: Path, uv: Path, database: str = "", more: Mapping[str, Backend] | None = None) -> Fabric:
    """An open fabric with the rules of no file."""
    config = made_config(folder, database)
    backends: dict[str, Backend] = {
        "uv": UvBackend(Building(Uv(uv, config.uv_cache_dir)), made_policy()),
        **(more or {}),
    }
    fabric = Fabric(config, backends, Operations(config.database_url))
    fabric.open()
    return fabric


def versions(env: EnvFacts) -> dict[str, str]:
    """Name to version of what an env has locked."""
    return env.declared.locked_versions
