"""Which stages there are: the asset modules of this package, found by looking."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from graphlib import TopologicalSorter
from types import ModuleType

import egoworld_assets
from egoworld_resources.stage import Stage

NOT_ASSETS = (
    "accuracy",
    "automation",
    "definitions",
    "flow",
    "monitoring",
    "plan",
    "price",
    "progress",
    "provenance",
    "report",
    "retention",
    "stages",
    "told",
    "upkeep",
    "viewing",
)
"""Modules beside the asset modules; so are those of the command line: cli and cli_*."""


@cache
def modules() -> tuple[ModuleType, ...]:
    """The asset modules of this package: a new stage is a new file, listed nowhere."""
    names = [m.name for m in pkgutil.iter_modules(egoworld_assets.__path__)]
    assets = [name for name in names if name not in NOT_ASSETS and name.partition("_")[0] != "cli"]
    return tuple(importlib.import_module(f"egoworld_assets.{name}") for name in assets)


@cache
def stages() -> dict[str, Stage]:
    """Every stage by name, inputs first."""
    found: dict[str, Stage] = {m.STAGE.name: m.STAGE for m in modules() if hasattr(m, "STAGE")}
    order = TopologicalSorter({name: sorted({*stage.inputs, *stage.optional}) for name, stage in sorted(found.items())})
    return {name: found[name] for name in order.static_order()}
