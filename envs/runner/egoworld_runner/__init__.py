"""The contract between egoworld and a model: frames in, typed rows out, one command line.

A model env depends on this package and on nothing else of egoworld. What is named here is loaded when it is asked for:
a program that only writes jobs needs neither the decoder nor Arrow.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from egoworld_runner import tables
    from egoworld_runner.clip import Clip
    from egoworld_runner.clip_ids import clip_id
    from egoworld_runner.errors import BadJob, BadVideo, ClipFailed, RunnerError
    from egoworld_runner.inputs import Inputs
    from egoworld_runner.runner import Params, Runner
    from egoworld_runner.video import Frame, FrameIndex

__all__ = [
    "BadJob",
    "BadVideo",
    "Clip",
    "ClipFailed",
    "Frame",
    "FrameIndex",
    "Inputs",
    "Params",
    "Runner",
    "RunnerError",
    "clip_id",
    "tables",
]
_MODULES = {
    "clip": ("Clip",),
    "clip_ids": ("clip_id",),
    "errors": ("BadJob", "BadVideo", "ClipFailed", "RunnerError"),
    "inputs": ("Inputs",),
    "runner": ("Params", "Runner"),
    "video": ("Frame", "FrameIndex"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "tables":
        return import_module("egoworld_runner.tables")
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"egoworld_runner.{_MODULE_OF[name]}"), name)
