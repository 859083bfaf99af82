"""What `egoworld weights` prints: tables of models, what differs from a manifest, progress."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

from egoworld_assets.cli.console import console
from egoworld_resources.environments.checkout import checkout_catalog
from egoworld_resources.layout import readable
from egoworld_resources.settings import Settings
from egoworld_resources.weights.examine import examine
from egoworld_resources.weights.importing import Progress as OnProgress
from egoworld_resources.weights.repository import Model, model_named, models_in, users_of
from egoworld_resources.weights.scanning import pickles_below, scan
from egoworld_resources.weights.staging import unfinished
from egoworld_resources.weights.verify import Difference


def show_models(settings: Settings, as_json: bool) -> None:
    """All models of the model home, and what was begun there."""
    home = settings.model_home
    models, begun = models_in(home), unfinished(home)
    users = users_of(models, checkout_catalog(settings.project, settings.env_profile))
    if as_json:
        facts = [{**_facts(model), "used_by": users[model.name]} for model in models]
        print(json.dumps({"models": facts, "unfinished": [str(folder) for folder in begun]}, indent=2))
        return
    table = Table("model", "files", "size", "licence", "source", "used by")
    for model in models:
        table.add_row(escape(model.name), *map(escape, _described(model)), "\n".join(users[model.name]) or "-")
    if models:
        console.print(table)
    else:
        console.print(f"no models in {home}: egoworld weights import FOLDER", soft_wrap=True, markup=False)
    for folder in begun:
        said = f"begun and not whole: {folder}; begin again to go on, or remove it"
        console.print(said, soft_wrap=True, markup=False)


def show_verified(settings: Settings, names: Sequence[str], *, quick: bool, key: Path | None, as_json: bool) -> bool:
    """Compare models with their manifests and print what differs; whether all are whole."""
    home = settings.model_home
    models = [model_named(home, name) for name in names] or models_in(home)
    reports = [_verified(model, settings, quick=quick, key=key, quiet=as_json) for model in models]
    if as_json:
        print(json.dumps({"models": reports}, indent=2))
    elif not models:
        console.print(f"no models in {home}", soft_wrap=True, markup=False)
    return all(report["whole"] for report in reports)


def show_scanned(settings: Settings, what: Sequence[str]) -> bool:
    """Look through files and print what was found in each; whether all are clean."""
    places = [Path(one) if Path(one).exists() else model_named(settings.model_home, one).folder for one in what]
    files = [file for place in places for file in ([place] if place.is_file() else pickles_below(place))]
    found = scan(settings, files)
    for one in found:
        console.print(readable(str(one)), soft_wrap=True, markup=False, highlight=False)
    if not found:
        console.print("no file that loads as a pickle")
    return all(one.clean for one in found)


@contextmanager
def progress_shown(about: str) -> Iterator[OnProgress]:
    """A bar with speed and remaining time, on a terminal; nothing elsewhere."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    shown = Progress(*columns, TransferSpeedColumn(), TimeRemainingColumn(), disable=not sys.stdout.isatty())
    with shown as bar:
        task = bar.add_task(escape(about), total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _verified(model: Model, settings: Settings, *, quick: bool, key: Path | None, quiet: bool) -> dict[str, Any]:
    began = time.monotonic()
    found = examine(model, settings, quick=quick, key=key)
    seconds = time.monotonic() - began
    if not quiet:
        _print_verified(model, found, seconds, quick=quick)
    differences = [vars(one) for one in found]
    whole = model.manifest is not None and not found
    return {"model": model.name, "whole": whole, "fault": model.fault, "differences": differences}


def _print_verified(model: Model, found: Sequence[Difference], seconds: float, *, quick: bool) -> None:
    if model.manifest is None:
        said = f"{model.name}: cannot be verified: {model.fault}"
        said += "".join(f"\n  {one}" for one in found)
    elif found:
        said = "\n  ".join([f"{model.name}: differs from what it should be ({len(found)})", *map(str, found)])
    else:
        size = model.manifest.bytes / 1e9
        speed = "names and sizes only" if quick else f"{size / max(seconds, 1e-9):.1f} GB/s"
        said = f"{model.name}: whole, {len(list(model.manifest.files()))} files, {size:,.2f} GB ({speed})"
    console.print(said, soft_wrap=True, markup=False, highlight=False)


def _described(model: Model) -> tuple[str, str, str, str]:
    if model.manifest is None:
        return "-", "-", "-", readable(model.fault)
    files = len(list(model.manifest.files()))
    sources = "\n".join(f"{part.source} {part.revision[:12]}".strip() for part in model.manifest.parts)
    return str(files), f"{model.manifest.bytes / 1e9:,.2f} GB", "\n".join(model.manifest.licences), readable(sources)


def _facts(model: Model) -> dict[str, Any]:
    manifest = model.manifest
    if manifest is None:
        return {"model": model.name, "fault": model.fault}
    parts = [part.model_dump(exclude={"files"}) for part in manifest.parts]
    formats = sorted({file.format for file in manifest.files()})
    return {
        "model": model.name, "files": len(list(manifest.files())), "bytes": manifest.bytes,
        "licences": manifest.licences, "formats": formats, "parts": parts,
    }  # fmt: skip
