"""The contract between egoworld and a model: frames in, typed rows out, one command line.

A model env depends on this package and on nothing else of egoworld.
"""

from egoworld_runner import tables
from egoworld_runner.clip import Clip, clip_id
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
