"""egoworld's own sample: a rendered first-person video whose truth is known exactly."""

from .options import InvalidOptions, SampleOptions
from .rendering import is_rendered, render, truth_folder
from .truth import decode_mask, load_truth, truth_rows

__all__ = [
    "InvalidOptions",
    "SampleOptions",
    "decode_mask",
    "is_rendered",
    "load_truth",
    "render",
    "truth_folder",
    "truth_rows",
]
