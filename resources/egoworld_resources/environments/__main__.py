"""``python -m egoworld_resources.environments lock|build|verify|list NAME...`` as the Makefile calls it."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Annotated

import typer

from egoworld_resources.catalog import BASE, Catalog
from egoworld_resources.environments.builder import EnvBuilder
from egoworld_resources.environments.lock import lock as make_lock
from egoworld_resources.environments.uv import Uv, find_uv
from egoworld_resources.errors import EgoworldError

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Locks and builds the model envs of this checkout.")

Names = Annotated[list[str] | None, typer.Argument(help="names of model envs; all of them when none is given")]


def checkout_catalog(project: Path) -> Catalog:
    """The envs of the project and of its tests, each with the locks folder beside it."""
    envs = [folder for folder in (project / "envs", project / "tests" / "envs") if folder.is_dir()]
    return Catalog.load(envs, [folder.parent / "locks" for folder in envs])


def checkout_uv(project: Path) -> Uv:
    """uv with the cache of UV_CACHE_DIR, or of the project."""
    cache = Path(os.environ.get("UV_CACHE_DIR") or project / "data" / "uv-cache")
    return Uv(find_uv(project), cache.absolute())


@app.command()
def lock(names: Names = None, upgrade: Annotated[bool, typer.Option(help="take the newest that fits")] = False) -> None:
    """Compile locks/pylock.<name>.toml from envs/<name>/pyproject.toml."""
    project = Path.cwd()
    catalog, uv = checkout_catalog(project), checkout_uv(project)
    own = [name for name in catalog.names if catalog.env(name).interpreter != BASE]
    for name in names or [BASE, *own]:
        for file in make_lock(name, catalog, uv, upgrade=upgrade):
            typer.echo(f"{file.relative_to(project)}")


@app.command()
def build(
    names: Names = None,
    fresh: Annotated[bool, typer.Option(help="a new generation even if the old one is whole")] = False,
) -> None:
    """Build model envs from their locks; those that are whole already take no time."""
    builder, catalog = _builder()
    for name in names or catalog.names:
        built = builder.ensure(name, fresh=fresh)
        typer.echo(f"{name}\t{built.python}")


@app.command()
def verify(names: Names = None) -> None:
    """Compare every installed file with its RECORD."""
    builder, catalog = _builder()
    for name in names or catalog.names:
        typer.echo(f"{name}\t{builder.verify(name)} files are as installed")


def _builder() -> tuple[EnvBuilder, Catalog]:
    project = Path.cwd()
    catalog, uv = checkout_catalog(project), checkout_uv(project)
    return EnvBuilder(project / "data" / "envs", catalog, uv.program, uv.cache), catalog


def main() -> None:
    """Run a command; a known error is one message and exit status 1, without a traceback."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        app()
    except EgoworldError as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
