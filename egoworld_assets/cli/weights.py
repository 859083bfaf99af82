"""`egoworld weights ...`: models below the model home, each with a manifest; single files in the bucket of weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from egoworld_assets.cli.console import Json
from egoworld_assets.cli.errors import errors_shown
from egoworld_resources.errors import BadConfiguration
from egoworld_resources.opening import S3_NEEDS, open_weights
from egoworld_resources.settings import Settings

app = typer.Typer()

Models = Annotated[list[str] | None, typer.Argument(help="Names of models; default all.")]
Name = Annotated[str, typer.Option(help="Take it in under this name; default the one of its manifest or folder.")]
Source = Annotated[str, typer.Option(help="Where the files are from, if they come without a manifest.")]
Revision = Annotated[str, typer.Option(help="Their full commit there.")]
Licence = Annotated[str, typer.Option(help="SPDX id of the licence of these weights, or LicenseRef-...")]

Stall = Annotated[float, typer.Option(min=1, help="Seconds without a byte that end a transfer.")]
Globs = Annotated[list[str] | None, typer.Option(help="Paths of the repository, * crosses folders; may be repeated.")]


@app.command(name="list")
@errors_shown
def list_models(as_json: Json = False) -> None:
    """The models of this machine: size, licence, source, and which envs use them."""
    from egoworld_assets.cli.weights_shown import show_models

    show_models(Settings.load(), as_json)


@app.command()
@errors_shown
def verify(
    models: Models = None,
    quick: Annotated[bool, typer.Option("--quick", help="Compare names and sizes only, read no bytes.")] = False,
    as_json: Json = False,
) -> None:
    """Compare every byte of models with their manifests, offline; names what is missing, damaged, extra or refused."""
    from egoworld_assets.cli.weights_shown import show_verified

    if not show_verified(Settings.load().model_home, models or [], quick=quick, as_json=as_json):
        raise typer.Exit(1)


@app.command(name="import")
@errors_shown
def import_delivery(
    delivery: Annotated[Path, typer.Argument(help="Folder of one model, on a disk that somebody brought.")],
    name: Name = "",
    source: Source = "",
    revision: Revision = "",
    licence: Licence = "",
) -> None:
    """Take a model in from a folder: whole or not at all, every byte compared; run again, it goes on."""
    from egoworld_assets.cli.weights_shown import progress_shown
    from egoworld_resources.weights.importing import Origin, import_model

    if bool(source) != bool(licence):
        raise BadConfiguration("--source and --licence go together: both say what no manifest says")
    origin = Origin(source, licence, revision) if source else None
    with progress_shown(f"import {delivery}") as progress:
        folder = import_model(delivery, Settings.load().model_home, name=name, origin=origin, progress=progress)
    _say(f"{folder} is whole")


@app.command()
@errors_shown
def discover(
    model: Annotated[str, typer.Argument(help="OWNER/NAME, or HUB:OWNER/NAME to ask one hub alone.")],
    revision: Revision = "",
    everywhere: Annotated[bool, typer.Option("--all", help="Ask every hub, also when the first one has it.")] = False,
    stall_s: Stall = 60.0,
    as_json: Json = False,
) -> None:
    """Look a model up, on ModelScope first and then on Hugging Face: format, architecture, size, files, licence."""
    from egoworld_assets.cli.weights_discovered import show_discovered

    show_discovered(Settings.load(), model, revision, stall_s, everywhere=everywhere, as_json=as_json)


@app.command()
@errors_shown
def download(
    source: Annotated[str, typer.Argument(help="huggingface:OWNER/NAME or modelscope:OWNER/NAME.")],
    revision: Revision = "",
    name: Name = "",
    licence: Licence = "",
    include: Globs = None,
    exclude: Globs = None,
    workers: Annotated[int, typer.Option(min=1, max=32, help="Files at once.")] = 4,
    stall_s: Stall = 60.0,
) -> None:
    """Take a model in from a hub at a full commit: whole or not at all, every byte compared; run again, it goes on."""
    from egoworld_assets.cli.weights_shown import progress_shown
    from egoworld_resources.weights.clients import open_hub
    from egoworld_resources.weights.download import Order, allowed, download

    settings = Settings.load()
    hub, _, repo = source.partition(":")
    if repo.count("/") != 1 or not all(repo.split("/")):
        raise BadConfiguration(f"'{source}' must be HUB:OWNER/NAME, such as huggingface:facebook/sam2.1-hiera-small")
    allowed(source, settings.weights_sources)
    order = Order(repo, revision, name, licence, include or (), exclude or (), workers)
    with progress_shown(f"download {source}") as progress:
        folder = download(open_hub(settings, hub, stall_s), order, settings.model_home, progress)
    _say(f"{folder} is whole")


@app.command()
@errors_shown
def push(files: Annotated[list[Path], typer.Argument(help="Files of weights, each as it is declared.")]) -> None:
    """Upload files to the weights bucket under their sha256; needs keys that may write there, such as the owner's."""
    bucket = open_weights(Settings.load())
    if bucket is None:
        raise BadConfiguration(f"weights lie in a bucket of S3: set {', '.join(S3_NEEDS)}")
    for file, sha256 in bucket.push(files).items():
        _say(f"{file.name}: {bucket.where(sha256)}")


def _say(text: str) -> None:
    Console(width=200).print(text, highlight=False, soft_wrap=True, markup=False)
