"""Objects of a video that a person showed, each in one frame or several: boxes and points.

Boxes count pixels, points lie at pixels' centres (pixels.py); frames are decode indices in the whole video.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from egoworld_runner.annotations import BadAnnotation, Pictures
from egoworld_runner.errors import ClipFailed

if TYPE_CHECKING:
    from egoworld_runner.clip import Clip
    from egoworld_runner.inputs import Inputs

KIND = "prompts"
LONGEST_NAME = 60
FIELDS = ("frame", "label", "object", "box", "inside", "outside")
HANDS = "hand"
"""How labels of hands end: they come from hand_poses."""


@dataclass(frozen=True)
class Prompt:
    """One object as a person showed it in one frame.

    label: what it is; name: which one, so that prompts of several frames can show the same object. box: edges x0, y0,
    x1, y1 in px, None when only points were given. inside, outside: points (x, y) in px on it and beside it.
    """

    frame: int
    label: str
    name: str
    box: tuple[float, float, float, float] | None
    inside: tuple[tuple[float, float], ...] = ()
    outside: tuple[tuple[float, float], ...] = ()


def prompts(clip: Clip, inputs: Inputs) -> list[Prompt]:
    """What was shown in the frames of a clip, in the order in which it was said. Raises ClipFailed.

    What is wrong with any of them, such as a frame past the end of the video, is a fault of each clip.
    """
    said = inputs.annotation(KIND)
    pictures = Pictures(clip.width, clip.height, len(clip.index))
    try:
        found = [] if said is None else parsed(said, pictures)
    except BadAnnotation as error:
        raise ClipFailed(f"{error}; put it right with `egoworld prompt`, or bring a corrected sidecar") from error
    return [one for one in found if clip.start_frame <= one.frame < clip.end_frame]


def parsed(said: Any, pictures: Pictures | None = None) -> list[Prompt]:
    """Prompts of JSON: a list of objects with frame, label, box [x, y, width, height] or inside [[x, y], ...], and
    perhaps object and outside. pictures: of the video, when they are known. Raises BadAnnotation.
    """
    if not isinstance(said, list):
        raise BadAnnotation("prompts must be a list, such as [{'frame': 0, 'label': 'cup', 'box': [x, y, w, h]}]")
    found = [_prompt(one, f"prompts[{place}]", pictures) for place, one in enumerate(said)]
    seen: dict[tuple[int, str], int] = {}
    for place, one in enumerate(found):
        other = seen.setdefault((one.frame, one.name), place)
        if other != place:
            raise BadAnnotation(
                f"prompts[{other}] and prompts[{place}] both show {one.name!r} in frame {one.frame}; "
                "name two things of one label by `object`, such as 'cup 1' and 'cup 2'"
            )
    return found


def _prompt(said: Any, where: str, pictures: Pictures | None) -> Prompt:
    if not isinstance(said, Mapping):
        raise BadAnnotation(f"{where} must be an object with frame, label and box")
    if unknown := sorted(set(said) - set(FIELDS)):
        raise BadAnnotation(f"{where}: {', '.join(map(repr, unknown))} is not known; valid: {', '.join(FIELDS)}")
    frame = said.get("frame")
    if not isinstance(frame, int) or isinstance(frame, bool) or frame < 0:
        raise BadAnnotation(f"{where}: frame must be a whole number, 0 for the first")
    if pictures and frame >= pictures.frames:
        raise BadAnnotation(f"{where}: frame {frame} is past the end, the video has frames 0 to {pictures.frames - 1}")
    label = _name(said, "label", where)
    if label.endswith(HANDS):
        raise BadAnnotation(f"{where}: label {label!r} is one of a hand; hands are found by hand_poses")
    name = _name(said, "object", where) if "object" in said else label
    inside, outside = (_points(said.get(which, []), f"{where}.{which}", pictures) for which in ("inside", "outside"))
    box = _box(said["box"], f"{where}.box", pictures) if said.get("box") is not None else None
    if box is None and not inside:
        raise BadAnnotation(f"{where}: give a box [x, y, width, height], or points inside the object")
    return Prompt(frame, label, name, box, inside, outside)


def _name(said: Mapping[str, Any], field: str, where: str) -> str:
    text = said.get(field)
    if not isinstance(text, str) or not 0 < len(text.strip()) <= LONGEST_NAME or not text.isprintable():
        raise BadAnnotation(f"{where}: {field} must be a name of at most {LONGEST_NAME} printable characters")
    return text.strip()


def _numbers(said: Any, count: int, where: str, what: str) -> list[float]:
    fine = isinstance(said, list) and len(said) == count
    if not fine or any(isinstance(n, bool) or not isinstance(n, int | float) or not math.isfinite(n) for n in said):
        raise BadAnnotation(f"{where} must be {what}, numbers in px")
    return [float(number) for number in said]


def _box(said: Any, where: str, pictures: Pictures | None) -> tuple[float, float, float, float]:
    x, y, width, height = _numbers(said, 4, where, "[x, y, width, height]")
    if width < 1 or height < 1:
        raise BadAnnotation(f"{where}: width and height must be at least 1 px, got {width:g} x {height:g}")
    if x < 0 or y < 0 or (pictures and (x + width > pictures.width or y + height > pictures.height)):
        size = f"{pictures.width} x {pictures.height} px" if pictures else "it begins at (0, 0)"
        raise BadAnnotation(f"{where} {[x, y, width, height]} reaches out of the picture ({size})")
    return x, y, x + width, y + height


def _points(said: Any, where: str, pictures: Pictures | None) -> tuple[tuple[float, float], ...]:
    if not isinstance(said, list):
        raise BadAnnotation(f"{where} must be a list of points [[x, y], ...]")
    found = [_numbers(point, 2, f"{where}[{place}]", "[x, y]") for place, point in enumerate(said)]
    for x, y in found:
        if x < 0 or y < 0 or (pictures and (x > pictures.width - 1 or y > pictures.height - 1)):
            size = f"{pictures.width} x {pictures.height} px" if pictures else "it begins at (0, 0)"
            raise BadAnnotation(f"{where} {[x, y]} lies outside the picture ({size})")
    return tuple((x, y) for x, y in found)
