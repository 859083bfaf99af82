"""`egoworld weights ...`: models below the model home, each with a manifest; single files in the bucket of weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from egoworld_assets.cli.console import Json
from egoworld_assets.cli.errors import errors_shown
from egoworld_resources.errors import BadConfiguration
from egoworld_resources.opening import S3_NEEDS, open_weights
from egoworld_resources.settings import Settings

if TYPE_CHECKING:
    from egoworld_resources.weights.bucket import WeightsBucket

app = typer.Typer()

Models = Annotated[list[str] | None, typer.Argument(help="Names of models; default all.")]
Name = Annotated[str, typer.Option(help="Take it in under this name; default the one of its manifest or folder.")]
Source = Annotated[str, typer.Option(help="Where the files are from, if they come without a manifest.")]
Revision = Annotated[str, typer.Option(help="Their full commit there.")]
Licence = Annotated[str, typer.Option(help="SPDX id of the licence of these weights, or LicenseRef-...")]

Stall = Annotated[float, typer.Option(min=1, help="Seconds without a byte that end a transfer.")]
Globs = Annotated[list[str] | None, typer.Option(help="Paths of the repository, * crosses folders; may be repeated.")]
Model = Annotated[str, typer.Argument(help="Name of a model that has a layout.")]
Apply = Annotated[bool, typer.Option("--apply", help="Do it; without, only say what would be done.")]

WITH_OPTIONS = {"allow_extra_args": True, "ignore_unknown_options": True}
"""Of commands that take the options of a layout."""


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
    signature: Annotated[
        Path | None, typer.Option(help="Public key (PEM): the manifest must be signed with the one that belongs to it.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare every byte of models with their manifests, offline; names what is missing, damaged, extra or refused."""
    from egoworld_assets.cli.weights_shown import show_verified

    if not show_verified(Settings.load(), models or [], quick=quick, key=signature, as_json=as_json):
        raise typer.Exit(1)


@app.command()
@errors_shown
def scan(what: Annotated[list[str], typer.Argument(help="Models by name, files, or folders.")]) -> None:
    """Look through files that load as pickles for operations that run code, by modelscan, which loads none of them."""
    from egoworld_assets.cli.weights_shown import show_scanned

    if not show_scanned(Settings.load(), what):
        raise typer.Exit(1)


@app.command()
@errors_shown
def sign(
    models: Annotated[list[str], typer.Argument(help="Names of models.")],
    private_key: Annotated[Path, typer.Option(help="Private key (PEM) of the curve P-256, P-384 or P-521.")],
) -> None:
    """Sign models in the format of OpenSSF's model signing, by the digests of their manifests; no byte is read."""
    from egoworld_resources.weights.repository import model_named
    from egoworld_resources.weights.signing import sign

    home = Settings.load().model_home
    for name in models:
        _say(f"{name}: {sign(model_named(home, name), private_key, home)}")


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
    from egoworld_resources.weights.pickles import excepted

    if bool(source) != bool(licence):
        raise BadConfiguration("--source and --licence go together: both say what no manifest says")
    origin = Origin(source, licence, revision) if source else None
    settings = Settings.load()
    allowed = excepted(settings)
    with progress_shown(f"import {delivery}") as progress:
        folder = import_model(
            delivery, settings.model_home, name=name, origin=origin, progress=progress, exceptions=allowed
        )
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


@app.command(context_settings=WITH_OPTIONS)
@errors_shown
def download(
    context: typer.Context,
    source: Annotated[str, typer.Argument(help="huggingface:OWNER/NAME, modelscope:OWNER/NAME, or a layout's MODEL.")],
    revision: Annotated[
        list[str] | None, typer.Option(help="The full commit; of a MODEL, PART=COMMIT for each part.")
    ] = None,
    name: Name = "",
    licence: Annotated[list[str] | None, typer.Option(help="SPDX id of its licence; of a MODEL, PART=ID.")] = None,
    include: Globs = None,
    exclude: Globs = None,
    workers: Annotated[int, typer.Option(min=1, max=32, help="Files at once.")] = 4,
    stall_s: Stall = 60.0,
) -> None:
    """Take a model in from a hub at a full commit: whole or not at all, every byte compared; run again, it goes on.

    A MODEL that has a layout is put together of its parts; options of the layout, such as --with-wan-14b, choose more.
    """
    from egoworld_assets.cli.weights_layouts import download_parts
    from egoworld_assets.cli.weights_shown import progress_shown
    from egoworld_resources.weights.clients import open_hub
    from egoworld_resources.weights.download import Order, allowed, download
    from egoworld_resources.weights.layouts import layouts
    from egoworld_resources.weights.pickles import excepted

    settings = Settings.load()
    if source in layouts(settings):
        if name or include or exclude:
            raise BadConfiguration(f"the layout of {source} says which files it has and where: no --name, no globs")
        folder = download_parts(settings, source, context.args, revision or (), licence or (), workers, stall_s)
        _say(f"{folder} is whole")
        return
    if context.args:
        raise BadConfiguration(f"'{context.args[0]}' is an option of a layout, and {source} has none")
    hub, _, repo = source.partition(":")
    if repo.count("/") != 1 or not all(repo.split("/")):
        known = ", ".join(layouts(settings)) or "none"
        raise BadConfiguration(
            f"'{source}' must be HUB:OWNER/NAME, such as huggingface:facebook/sam2.1-hiera-small, "
            f"or a model that has a layout: {known}"
        )
    allowed(source, settings.weights_sources)
    order = Order(
        repo, _one(revision, "--revision"), name, _one(licence, "--licence"), include or (), exclude or (), workers
    )
    with progress_shown(f"download {source}") as progress:
        folder = download(open_hub(settings, hub, stall_s), order, settings.model_home, progress, excepted(settings))
    _say(f"{folder} is whole")


@app.command(context_settings=WITH_OPTIONS)
@errors_shown
def prepare(
    context: typer.Context,
    model: Model,
    old: Annotated[Path | None, typer.Option("--from", help="Folder with the old files; default the layout's.")] = None,
    apply: Apply = False,
) -> None:
    """Bring a model's files from their old place into the new one and write its manifest; without --apply say what.

    Options of the layout, such as --with-wan-transformer, take what is not needed otherwise.
    """
    from egoworld_assets.cli.weights_layouts import show_prepared

    if not show_prepared(Settings.load(), model, context.args, old, apply=apply):
        raise typer.Exit(1)


@app.command()
@errors_shown
def slim(model: Model, apply: Apply = False) -> None:
    """Remove what a model's layout calls spare, and prove that the rest is whole; without --apply say what."""
    from egoworld_assets.cli.weights_layouts import show_slimmed

    if not show_slimmed(Settings.load(), model, apply=apply):
        raise typer.Exit(1)


@app.command()
@errors_shown
def environment(model: Model) -> None:
    """The variables by which a model's own code finds its files, as lines of an .env file."""
    from egoworld_assets.cli.weights_layouts import show_environment

    show_environment(Settings.load(), model)


@app.command()
@errors_shown
def push(
    what: Annotated[list[str], typer.Argument(help="Models by name, or single files as envs declare them.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Also in the place of another model of that name.")
    ] = False,
) -> None:
    """Upload models, or files under their sha256, to the bucket of weights; needs keys that may write there.

    What is there already is not sent again; a model can be fetched when all of it is there, not before.
    """
    from egoworld_assets.cli.weights_shown import progress_shown
    from egoworld_resources.weights.bucket_models import push_model
    from egoworld_resources.weights.repository import model_named, models_in

    settings, bucket = Settings.load(), _bucket()
    models = {model.name for model in models_in(settings.model_home)}
    files = [Path(one) for one in what if Path(one).is_file() or one not in models]
    for file, sha256 in bucket.push(files).items():
        _say(f"{file.name}: {bucket.where(sha256)}")
    for name in [one for one in what if Path(one) not in files]:
        with progress_shown(f"push {name}") as progress:
            key = push_model(bucket.objects, model_named(settings.model_home, name), replace=replace, progress=progress)
        _say(f"{name}: {bucket.where(key)}")


@app.command()
@errors_shown
def fetch(models: Annotated[list[str], typer.Argument(help="Names of models that the bucket has.")]) -> None:
    """Take models in from the bucket of weights: whole or not at all, every byte compared; run again, it goes on."""
    from egoworld_assets.cli.weights_shown import progress_shown
    from egoworld_resources.weights.bucket_models import fetch_model
    from egoworld_resources.weights.pickles import excepted

    settings, bucket = Settings.load(), _bucket()
    for name in models:
        with progress_shown(f"fetch {name}") as progress:
            folder = fetch_model(bucket.objects, name, settings.model_home, progress, excepted(settings))
        _say(f"{folder} is whole")


def _bucket() -> WeightsBucket:
    bucket = open_weights(Settings.load())
    if bucket is None:
        raise BadConfiguration(f"weights lie in a bucket of S3: set {', '.join(S3_NEEDS)}")
    return bucket


def _one(given: list[str] | None, option: str) -> str:
    if given and len(given) > 1:
        raise BadConfiguration(f"{option} is given twice; one repository has one")
    return given[0] if given else ""


def _say(text: str) -> None:
    Console(width=200).print(text, highlight=False, soft_wrap=True, markup=False)
