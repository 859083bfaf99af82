"""The envs, locks and uv of a checkout, where the Makefile puts them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from egoworld_resources.environments.catalog import Catalog
from egoworld_resources.environments.sources import Sources

if TYPE_CHECKING:
    from egoworld_resources.environments.building.uv import Uv

PROFILE = "EGOWORLD_ENV_PROFILE"
"""Names the profile of envs/policy.toml that locks are made and taken for; unset: that of the servers."""
WHEELHOUSE = "EGOWORLD_WHEELHOUSE"
KIT_WHEELS = Path("data") / "kit" / "files" / "wheels"
"""Where a kit that was installed keeps its wheels, in the checkout."""


def checkout_catalog(project: Path, profile: str | None = None) -> Catalog:
    """The envs of the project and of its tests, each with the locks folder beside it.

    profile: of envs/policy.toml, default PROFILE of the environment; raises BadDeclaration when the policy has it not.
    """
    chosen = os.environ.get(PROFILE, "") if profile is None else profile
    envs = [folder for folder in (project / "envs", project / "tests" / "envs") if folder.is_dir()]
    return catalog_of(envs, chosen)


def catalog_of(
    envs: Iterable[Path], profile: str = "", *, apart: bool = False, sources: Sources | None = None
) -> Catalog:
    """The catalog of folders of envs; a lock of ``profile`` goes before the lock that the servers use.

    apart, sources: as in Catalog.load.
    """
    folders = list(envs)
    locks = [folder.parent / "locks" for folder in folders]
    if profile:
        from egoworld_resources.environments.policy.rules import Policy

        Policy.read(folders[0] / "policy.toml", profile)
    ahead = [folder / profile for folder in locks if profile]
    return Catalog.load(folders, [*ahead, *locks], apart=apart, sources=sources)


def checkout_uv(project: Path) -> Uv:
    """uv with the cache of UV_CACHE_DIR, or of the project."""
    from egoworld_resources.environments.building.uv import Uv, find_uv

    cache = Path(os.environ.get("UV_CACHE_DIR") or project / "data" / "uv-cache")
    return Uv(find_uv(project), cache.absolute())


def checkout_wheels(project: Path, named: Path | None = None) -> Path | None:
    """The folder of wheels to install envs from before using the network; None if there is none.

    named: default EGOWORLD_WHEELHOUSE; without it, that of the kit which the project was installed from.
    """
    folder = named or os.environ.get(WHEELHOUSE)
    if folder:
        return Path(folder).absolute()
    return project.absolute() / KIT_WHEELS if from_kit(project) else None


def from_kit(project: Path) -> bool:
    """Whether the project was installed from a kit: that brings the locks which its receiver needs, not all."""
    return (project / KIT_WHEELS).is_dir()
