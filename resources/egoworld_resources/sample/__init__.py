"""egoworld's own sample: a rendered first-person video whose truth is known exactly."""

from egoworld_resources.sample.options import InvalidOptions, SampleOptions
from egoworld_resources.sample.rendering import is_rendered, render, truth_folder
from egoworld_resources.sample.truth import decode_mask, load_truth

__all__ = [
    "InvalidOptions",
    "SampleOptions",
    "decode_mask",
    "is_rendered",
    "load_truth",
    "render",
    "truth_folder",
]
