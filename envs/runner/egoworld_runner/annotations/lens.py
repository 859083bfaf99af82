"""The lens of one video, as a person knows it: the same fields as under ``lenses`` in egoworld.toml (lenses.py)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from egoworld_runner.annotations import BadAnnotation, Pictures
from egoworld_runner.errors import ClipFailed
from egoworld_runner.lenses import BadLens, Lens, parse

if TYPE_CHECKING:
    from egoworld_runner.clip import Clip
    from egoworld_runner.inputs import Inputs

KIND = "lens"


def given_lens(clip: Clip, inputs: Inputs) -> Lens | None:
    """The lens that was given for the video of a clip; None when none was. Raises ClipFailed."""
    said = inputs.annotation(KIND)
    try:
        return None if said is None else parsed(said, Pictures(clip.width, clip.height, len(clip.index)))
    except BadAnnotation as error:
        raise ClipFailed(f"{error}; put it right with `egoworld lens`, or bring a corrected sidecar") from error


def parsed(said: Any, pictures: Pictures | None = None) -> Lens:
    """The lens of JSON for these pictures; while they are not known, for those that it was calibrated on.

    Raises BadAnnotation.
    """
    facts = said if isinstance(said, Mapping) else {}
    sides = (pictures.width, pictures.height) if pictures else (facts.get("width"), facts.get("height"))
    width, height = (side if isinstance(side, int) and side > 0 else 1 for side in sides)
    try:
        return parse(said, width, height)
    except BadLens as error:
        raise BadAnnotation(f"lens: {error}") from error
