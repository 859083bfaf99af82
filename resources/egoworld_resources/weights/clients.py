"""The clients of hubs and the scanner of pickles, each in the env of its name, built when it is first asked for."""

from __future__ import annotations

from pathlib import Path

from egoworld_resources.environments.building.builder import EnvBuilder
from egoworld_resources.environments.checkout import checkout_catalog, checkout_wheels
from egoworld_resources.settings import Settings
from egoworld_resources.weights.hubs import Hub, hub_named


def open_hub(settings: Settings, name: str, stall_s: float = 60.0) -> Hub:
    """A hub by its name; raises UnknownName, and what building an env raises."""
    return Hub(name, *client_of(settings, hub_named(name)), stall_s)


def client_of(settings: Settings, env: str) -> tuple[Path, Path]:
    """The interpreter of an env that has a client, and that client; raises what building an env raises."""
    catalog = checkout_catalog(settings.project, settings.env_profile)
    wheels = checkout_wheels(settings.project, settings.wheelhouse)
    builder = EnvBuilder(settings.layout.envs, catalog, settings.uv, settings.uv_cache_folder, wheels=wheels)
    return builder.ensure(env).python, catalog.env(env).folder.absolute() / "client.py"
