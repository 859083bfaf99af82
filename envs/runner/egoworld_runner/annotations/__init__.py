"""What a person said about a video: the objects to follow (``prompts``) and the lens that filmed it (``lens``).

Each kind is one JSON value. A stage that declares a kind is given it as an input of that name, a folder with
``<kind>.json``; see ``Inputs.annotation``. The module of a kind's name says what is valid.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

KINDS = ("lens", "prompts")


class BadAnnotation(ValueError):
    """What was said cannot be used; the message says what is wrong and what is valid."""


@dataclass(frozen=True)
class Pictures:
    """Size (px, as displayed) and number of a video's frames."""

    width: int
    height: int
    frames: int


def check(kind: str, said: Any, pictures: Pictures | None = None) -> None:
    """Raise BadAnnotation for what a stage could not use. pictures: of the video, where they are known."""
    import_module(f"egoworld_runner.annotations.{kind}").parsed(said, pictures)
