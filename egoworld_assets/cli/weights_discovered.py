"""What `egoworld weights discover` prints: what hubs say of a model, and how to take it in."""

from __future__ import annotations

import json
from typing import Any

from rich.markup import escape
from rich.table import Table

from egoworld_assets.cli.console import console
from egoworld_resources.errors import BadConfiguration, EgoworldError
from egoworld_resources.layout import readable
from egoworld_resources.settings import Settings
from egoworld_resources.weights.clients import open_hub
from egoworld_resources.weights.discover import Discovered, discover
from egoworld_resources.weights.download import allowed
from egoworld_resources.weights.errors import NotOnHub
from egoworld_resources.weights.hubs import HUBS, hub_named


def show_discovered(
    settings: Settings, model: str, revision: str, stall_s: float, *, everywhere: bool, as_json: bool
) -> None:
    """Ask hubs in their order until one has the model, or all; raises NotOnHub with what each said when none has it."""
    hub, _, repo = model.rpartition(":")
    if repo.count("/") != 1 or not all(repo.split("/")):
        raise BadConfiguration(f"'{model}' must be OWNER/NAME or HUB:OWNER/NAME, such as facebook/sam2.1-hiera-small")
    found, said = list[Discovered](), dict[str, str]()
    for name in [hub_named(hub)] if hub else HUBS:
        try:
            allowed(f"{name}:{repo}", settings.weights_sources)
            found.append(discover(open_hub(settings, name, stall_s), repo, revision, settings.layout.scratch))
        except EgoworldError as error:
            said[name] = str(error)
        if found and not everywhere:
            break
    if not found:
        raise NotOnHub("\n".join([f"no hub that was asked gives {repo}:", *said.values()]))
    if as_json:
        print(json.dumps({"found": [_facts(one) for one in found], "not_found": said}, indent=2))
        return
    for reason in said.values():
        console.print(readable(reason), soft_wrap=True, markup=False, highlight=False)
    for one in found:
        _show(one)


def _show(found: Discovered) -> None:
    table = Table(show_header=False, box=None, pad_edge=False)
    said = readable(found.listing.licence) or "nothing"
    formats = ", ".join(f"{kind} ({_size(size)})" for kind, size in found.formats.items())
    table.add_row("source", found.source)
    table.add_row("revision", readable(found.listing.commit) or "not named")
    table.add_row("licence", escape(found.licence or f"to be read: the hub says {said}; then --licence"))
    table.add_row("architecture", escape(readable(found.architecture)) or "not named")
    table.add_row("format", formats or "no file of weights")
    table.add_row("size", f"{_size(found.bytes)} in {len(found.listing.files)} files")
    console.print(table)
    for file in found.listing.files:
        line = f"  {_size(file.bytes):>9}  {file.path}"
        console.print(line, soft_wrap=True, markup=False, highlight=False)
    command = f"egoworld weights download {found.source} --revision {readable(found.listing.commit)}"
    console.print(f"take it in: {command}", soft_wrap=True, markup=False, highlight=False)


def _facts(found: Discovered) -> dict[str, Any]:
    return {
        "source": found.source, "revision": found.listing.commit, "licence": found.licence,
        "licence_said": found.listing.licence, "architecture": found.architecture, "formats": found.formats,
        "bytes": found.bytes, "files": [file.model_dump() for file in found.listing.files],
    }  # fmt: skip


def _size(size: int) -> str:
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:,.1f} {unit}"
    return f"{size} B"
