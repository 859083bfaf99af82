"""Remove the files of a model that its layout declares to be spare, and prove that the rest is whole."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from egoworld_resources.disk import sync
from egoworld_resources.settings import Settings
from egoworld_resources.weights.errors import WeightsRefused
from egoworld_resources.weights.layouts import Layout, lacking, needed
from egoworld_resources.weights.manifest import ModelManifest, WeightsFile
from egoworld_resources.weights.repository import Model
from egoworld_resources.weights.staging import staging
from egoworld_resources.weights.verify import Difference, Found, files_below, verify


@dataclass(frozen=True)
class Spare:
    """A file that goes, with the reason of its layout."""

    path: str
    bytes: int
    reason: str


@dataclass(frozen=True)
class Slimming:
    """What slim would do. rest: the manifest of what stays."""

    model: Model
    layout: Layout
    gone: Sequence[Spare]
    rest: ModelManifest

    @property
    def bytes(self) -> int:
        return sum(one.bytes for one in self.gone)


def plan_slim(model: Model, layout: Layout, settings: Settings) -> Slimming:
    """What would be removed; nothing is. Raises WeightsRefused when the rest is not whole by names and sizes, when
    inference needs one of these files, or when nothing says what the files should be.
    """
    if model.manifest is None:
        raise WeightsRefused(f"{model.name}: {model.fault}; egoworld weights prepare {model.name} --apply writes one")
    gone = [spare for found in files_below(model.folder) if (spare := _spare(layout, found))]
    paths = {one.path for one in gone}
    if clash := sorted(paths & {str(file.relative_to(model.folder)) for file in _needed_here(model, layout, settings)}):
        raise WeightsRefused(f"{model.name}: {clash[0]} is spare and required; correct the layout of {layout.model}")
    parts = [part.model_copy(update={"files": _without(part.files, layout)}) for part in model.manifest.parts]
    rest = model.manifest.model_copy(update={"parts": [part for part in parts if part.files]})
    faults = [one for one in verify(model.folder, rest, quick=True) if one.kind != "extra"]
    faults += lacking(layout, settings)
    if faults or not rest.parts:
        said = "\n  ".join(map(str, faults)) or "nothing would be left"
        raise WeightsRefused(f"{model.name} is not slimmed, what would stay is not whole:\n  {said}")
    return Slimming(model, layout, gone, rest)


def slim(todo: Slimming, settings: Settings) -> list[Difference]:
    """Remove what is spare and read every byte of the rest; what is wrong with it, an empty list is the proof.

    The manifest without them is written first: a kill between leaves files that are extra, and the next slim removes.
    """
    folder = todo.model.folder
    with staging(settings.model_home, todo.model.name, "slim") as place:
        place.rewrite(todo.rest)
        for one in todo.gone:
            (folder / one.path).unlink(missing_ok=True)
        for parent in sorted({parent for one in todo.gone for parent in (folder / one.path).parents}, reverse=True):
            if folder in parent.parents:
                with suppress(OSError):  # it holds something else
                    parent.rmdir()
        sync(folder)
        wrong = [one for one in verify(folder, todo.rest) if one.kind != "extra"]
    return [*wrong, *lacking(todo.layout, settings)]


def _spare(layout: Layout, found: Found) -> Spare | None:
    part = layout.part_of(found.path)
    return Spare(found.path, found.bytes, part.spare) if part and part.spare and not found.refusal else None


def _without(files: Sequence[WeightsFile], layout: Layout) -> list[WeightsFile]:
    return [file for file in files if not ((part := layout.part_of(file.path)) and part.spare)]


def _needed_here(model: Model, layout: Layout, settings: Settings) -> list[Path]:
    return [file for file in needed(layout, settings) if model.folder in file.parents]
