"""Which stages there are: the asset modules of this package, found by looking."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from graphlib import TopologicalSorter
from types import ModuleType

import egoworld_assets
from egoworld_resources.artifacts.stage import Stage


@cache
def modules() -> tuple[ModuleType, ...]:
    """Every file beside definitions.py: a new stage is a new file, listed nowhere."""
    files = [m.name for m in pkgutil.iter_modules(egoworld_assets.__path__) if not m.ispkg and m.name != "definitions"]
    return tuple(importlib.import_module(f"egoworld_assets.{name}") for name in files)


@cache
def stages() -> dict[str, Stage]:
    """Every stage by name, inputs first."""
    found: dict[str, Stage] = {m.STAGE.name: m.STAGE for m in modules() if hasattr(m, "STAGE")}
    order = TopologicalSorter({name: sorted({*stage.inputs, *stage.optional}) for name, stage in sorted(found.items())})
    return {name: found[name] for name in order.static_order()}
