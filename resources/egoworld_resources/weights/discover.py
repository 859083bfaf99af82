"""Look a model up on the hubs, before anything of it is fetched but its small files of configuration."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from egoworld_resources.leases.scratch import scratch_folder
from egoworld_resources.licences.expressions import canonical
from egoworld_resources.weights.download import judged
from egoworld_resources.weights.hubs import Hub, HubFile, Listing
from egoworld_resources.weights.manifest import WEIGHTS_FORMATS, format_of

CONFIGURATION = ("config.json", "model_index.json", "configuration.json")
"""Files that name a model's architecture: of transformers, of diffusers, of ModelScope."""

LARGEST_CONFIGURATION = 2**20


@dataclass(frozen=True)
class Discovered:
    """What a hub says of a model. architecture: as its configuration names it; empty when nothing does."""

    hub: str
    repo: str
    listing: Listing
    architecture: str

    @property
    def source(self) -> str:
        return f"{self.hub}:{self.repo}"

    @property
    def licence(self) -> str:
        """SPDX id of what the hub says of the licence; empty when it says nothing of the kind."""
        return canonical(self.listing.licence) or ""

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.listing.files)

    @cached_property
    def formats(self) -> Mapping[str, int]:
        """Bytes by format of the files that hold weights, the largest first."""
        sizes: Counter[str] = Counter()
        for file in self.listing.files:
            if (kind := format_of(file.path)) in WEIGHTS_FORMATS:
                sizes[kind] += file.bytes
        return dict(sizes.most_common())


def discover(hub: Hub, repo: str, revision: str, scratch: Path) -> Discovered:
    """What one hub says of a repository, at its newest commit without a revision.

    scratch: where the files of configuration are read, and then removed. Raises NotOnHub, HubUnreachable,
    WeightsRefused.
    """
    with scratch_folder(scratch, "discover") as folder:
        listing = hub.list(repo, revision, folder)
        return Discovered(hub.name, repo, listing, _architecture(hub, repo, listing, folder))


def _architecture(hub: Hub, repo: str, listing: Listing, folder: Path) -> str:
    small = [file for file in listing.files if file.path in CONFIGURATION and file.bytes <= LARGEST_CONFIGURATION]
    parts = {folder / file.path: file for file in sorted(small, key=lambda file: CONFIGURATION.index(file.path))}
    if parts:
        hub.fetch(repo, listing.commit, parts, folder, len(parts), lambda _path: None, lambda _bytes: None)
    return next(filter(None, (_named(_read(part, file)) for part, file in parts.items())), "")


def _read(part: Path, file: HubFile) -> Mapping[str, Any]:
    """A file of configuration whose bytes are those that the hub lists; empty when they are not, or no JSON object."""
    if not judged(part, file)[0]:
        return {}
    try:
        found = json.loads(part.read_bytes())
    except ValueError:
        return {}
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def _named(configuration: Mapping[str, Any]) -> str:
    model = configuration.get("model")
    names: Sequence[Any] = (
        configuration.get("architectures"),
        configuration.get("_class_name"),
        configuration.get("model_type"),
        cast("dict[str, Any]", model).get("type") if isinstance(model, dict) else None,
        configuration.get("task"),
    )
    for name in names:
        if isinstance(name, str) and name:
            return name
        if isinstance(name, list) and name:
            return ", ".join(map(str, cast("list[Any]", name)))
    return ""
