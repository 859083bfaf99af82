"""The envs, locks and uv of a checkout, where the Makefile puts them."""

from __future__ import annotations

import os
from pathlib import Path

from egoworld_resources.catalog import Catalog
from egoworld_resources.environments.uv import Uv, find_uv


def checkout_catalog(project: Path) -> Catalog:
    """The envs of the project and of its tests, each with the locks folder beside it."""
    envs = [folder for folder in (project / "envs", project / "tests" / "envs") if folder.is_dir()]
    return Catalog.load(envs, [folder.parent / "locks" for folder in envs])


def checkout_uv(project: Path) -> Uv:
    """uv with the cache of UV_CACHE_DIR, or of the project."""
    cache = Path(os.environ.get("UV_CACHE_DIR") or project / "data" / "uv-cache")
    return Uv(find_uv(project), cache.absolute())
