"""How egoworld does things: configuration, store, manifests, environments, runners. No stage is known here.

What is named in ``__all__`` is for programs of others, see "As a library" in resources/README.md, and is loaded when it
is asked for.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from egoworld_resources.artifacts.manifest import Manifest
    from egoworld_resources.artifacts.stage import Stage
    from egoworld_resources.errors import BadConfiguration, EgoworldError, Terminal, Transient, UnknownName
    from egoworld_resources.making.lineage import lineage_of
    from egoworld_resources.making.state import State
    from egoworld_resources.making.workbench import Workbench
    from egoworld_resources.opening import open_store
    from egoworld_resources.settings import Settings
    from egoworld_resources.store.protocol import Store

__all__ = [
    "BadConfiguration",
    "EgoworldError",
    "Manifest",
    "Settings",
    "Stage",
    "State",
    "Store",
    "Terminal",
    "Transient",
    "UnknownName",
    "Workbench",
    "lineage_of",
    "open_store",
]
_MODULES = {
    "artifacts.manifest": ("Manifest",),
    "artifacts.stage": ("Stage",),
    "errors": ("BadConfiguration", "EgoworldError", "Terminal", "Transient", "UnknownName"),
    "making.lineage": ("lineage_of",),
    "making.state": ("State",),
    "making.workbench": ("Workbench",),
    "opening": ("open_store",),
    "settings": ("Settings",),
    "store.protocol": ("Store",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
"""Arrow's own allocator keeps most of the most that it ever had: a process would grow with every table it has seen. The
C library gives memory back. Arrow looks at this once, when it is loaded."""


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
