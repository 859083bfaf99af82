"""Take in a model of several parts from their hubs, as its layout has them."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from egoworld_resources.artifacts.manifest import digest
from egoworld_resources.leases.scratch import remove_tree
from egoworld_resources.weights.download import Order, Progress, download
from egoworld_resources.weights.errors import WeightsRefused
from egoworld_resources.weights.hubs import Hub
from egoworld_resources.weights.layouts import Layout, LayoutPart
from egoworld_resources.weights.manifest import ModelManifest, Part
from egoworld_resources.weights.staging import INCOMING, staging

Shown = Callable[[str], AbstractContextManager[Progress]]
"""Shows the progress of what it gets the name of."""


@dataclass(frozen=True)
class PartOrder(Order):
    """The order of one part, whose layout says which files are wanted."""

    part: LayoutPart | None = None

    @property
    def source(self) -> str:
        return self.part.source if self.part else ""

    @property
    def hub(self) -> str:
        return self.source.partition(":")[0]

    def wants(self, path: str) -> bool:
        return bool(self.part and self.part.wants(path))


def orders_of(
    layout: Layout, options: set[str], revisions: Mapping[str, str], licences: Mapping[str, str], workers: int
) -> list[PartOrder]:
    """What to fetch, part by part. revisions, licences: by part, over what the layout and the hub say.

    Raises WeightsRefused for a part whose source or commit is not known.
    """
    chosen = [part for part in layout.parts if part.option in options or not (part.option or part.spare)]
    if unknown := sorted({*revisions, *licences} - {part.name for part in layout.parts}):
        known = ", ".join(part.name for part in layout.parts)
        raise WeightsRefused(f"{layout.model} has no part '{unknown[0]}'; its parts: {known}")
    if unsourced := next((part for part in chosen if not part.source), None):
        raise WeightsRefused(
            f"{layout.model}: no public source of its part '{unsourced.name}' is known; take it in from a disk "
            f"(egoworld weights import FOLDER --name {layout.model}), or by its address with --name {layout.model}"
        )
    return [
        PartOrder(
            repo=part.source.partition(":")[2],
            revision=revisions.get(part.name) or part.revision,
            name=part.name,
            licence=licences.get(part.name, ""),
            include=tuple(part.files),
            workers=workers,
            part=part,
        )
        for part in chosen
    ]


def put_together(
    layout: Layout,
    orders: Sequence[PartOrder],
    home: Path,
    open_hub: Callable[[str], Hub],
    shown: Shown,
    exceptions: Collection[str] = (),
) -> Path:
    """Fetch the parts and make one folder of them; returns it, which is whole whenever it is there.

    Each part is fetched as a model of its own, so what arrived stays. Raises what ``download`` raises.
    """
    parts, target = home / INCOMING / f"{layout.model}.parts", home / layout.model
    there = ModelManifest.read(target).parts if target.exists() else ()
    missing = [order for order in orders if not _is_there(layout, order, there)]
    folders = list[Path]()
    for order in missing:
        hub = open_hub(order.hub)
        with shown(f"{layout.model}: {order.name}") as progress:
            folders.append(download(hub, order, parts, progress, exceptions))
    if missing:
        key = digest([[order.source, order.revision] for order in orders])[:16]
        with staging(home, layout.model, key, exceptions) as place:
            into = place.target if there else place.files
            found = [
                one for order, folder in zip(missing, folders, strict=True) for one in _linked(order, folder, into)
            ]
            manifest = ModelManifest(model=layout.model, parts=[*there, *found])
            if there:
                place.rewrite(manifest)
            else:
                place.publish(manifest)
    remove_tree(parts)
    return target


def _is_there(layout: Layout, order: PartOrder, there: Sequence[Part]) -> bool:
    """Whether a model's folder has this part already, at that commit; raises WeightsRefused when at another one."""
    found = {
        (part.source, part.revision)
        for part in there
        for file in part.files
        if (one := layout.part_of(file.path)) and one.name == order.name
    }
    if found and found != {(order.source, order.revision)}:
        raise WeightsRefused(f"{layout.model} has its part '{order.name}' from elsewhere already; move the model away")
    return bool(found)


def _linked(order: PartOrder, folder: Path, into: Path) -> list[Part]:
    """The parts of a downloaded folder, their files linked to where they belong below ``into``."""
    before = f"{order.part.at}/" if order.part and order.part.at else ""
    parts = ModelManifest.read(folder).parts
    for file in (file for part in parts for file in part.files):
        target = into / (before + file.path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        os.link(folder / file.path, target)
    moved = [[file.model_copy(update={"path": before + file.path}) for file in part.files] for part in parts]
    return [part.model_copy(update={"files": files}) for part, files in zip(parts, moved, strict=True)]
