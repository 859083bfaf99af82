"""Rules of envs/policy.toml for the environment.yml that the folder of an env may hold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from egoworld_resources.environments.catalog import Catalog
from egoworld_resources.environments.policy.check import Found
from egoworld_resources.environments.policy.rules import Breach, Policy
from egoworld_resources.workflow_envs.conda import declaration as conda
from egoworld_resources.workflow_envs.conda.specs import NO_DEFAULTS
from egoworld_resources.workflow_envs.errors import InvalidPackages


def conda_breaches(catalog: Catalog, policy: Policy) -> list[Found]:
    """What breaks a rule in the conda declarations of all envs."""
    folders = [catalog.env(name).folder for name in catalog.names]
    return [Found(folder / conda.FILE, breach) for folder in folders for breach in _breaches(folder, policy)]


def _breaches(folder: Path, policy: Policy) -> Iterator[Breach]:
    """What of an environment.yml in the folder of an env breaks a rule: its channels, and that it needs a lock."""
    if not (folder / conda.FILE).is_file():
        return
    try:
        channels = conda.Declaration.read(folder).channels
    except InvalidPackages as error:
        yield Breach("channels", str(error), "list the names of channels in order of priority")
        return
    yield from policy.channel_breaches(channel for channel in channels if channel != NO_DEFAULTS)
    if not (folder / conda.LOCK).is_file():
        yield Breach("lock", f"has no {conda.LOCK} beside it", "write the explicit lock that it was tried with there")
