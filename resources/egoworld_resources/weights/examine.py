"""Everything that is asked of a model on this machine: its bytes, its layout, pickles, its signature."""

from __future__ import annotations

from pathlib import Path

from egoworld_resources.settings import Settings
from egoworld_resources.weights.layouts import lacking, layouts
from egoworld_resources.weights.manifest import SIGNATURE
from egoworld_resources.weights.pickles import excepted, pickles
from egoworld_resources.weights.repository import Model
from egoworld_resources.weights.signing import fault_of_signature
from egoworld_resources.weights.verify import Difference, verify


def examine(model: Model, settings: Settings, *, quick: bool = False, key: Path | None = None) -> list[Difference]:
    """What is wrong with a model; an empty list proves that it is whole if it has a manifest, which is not asked here.

    quick: compare names and sizes only. key: public key that it must be signed for; None: it need not. Raises
    BadConfiguration for a key or a layout that cannot be read.
    """
    found = verify(model.folder, model.manifest, quick=quick) if model.manifest else list[Difference]()
    named = {str(model.folder / one.path) for one in found}
    if model.manifest:
        found += pickles(model.folder, model.manifest.files(), excepted(settings))
    if layout := layouts(settings).get(model.name):
        found += [one for one in lacking(layout, settings) if one.path not in named]
    if key and (fault := fault_of_signature(model, key)):
        found.append(Difference("unsigned", SIGNATURE, fault))
    return found
